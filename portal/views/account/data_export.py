"""Data export and account deletion."""

from flask import Blueprint, Response, flash, redirect, render_template, request, session, stream_with_context, url_for
from werkzeug.wrappers import Response as AnyResponse

from models import clock
from models.audit import AuditAction
from models.services.accounts import data_export, deletion, two_factor
from models.services.audit import log as audit_log
from portal.forms.domain_errors import form_errors
from portal.forms.two_factor import DeleteForm
from portal.i18n import gettext as _
from portal.request import auth, context, login_limits

blueprint = Blueprint("own_data", __name__)
blueprint.before_request(auth.require_login)


@blueprint.post("/profile/export")
def export() -> Response:
    """Stream all stored data of the user as a JSON file."""
    user = context.user()
    with context.transaction() as own:
        who = context.actor()
        audit_log.record(own, AuditAction.USER_EXPORTED, who, user_id=user.id, resource=("user", user.id))
    response = Response(
        stream_with_context(data_export.build_document(context.session(), user)), mimetype="application/json"
    )
    response.headers["Content-Disposition"] = f'attachment; filename="zenzefi-{clock.now():%Y-%m-%d}.json"'
    return response


@blueprint.route("/profile/delete", methods=["GET", "POST"])
def delete() -> str | AnyResponse | tuple[str, int]:
    """Show what is lost in numbers, and delete the account with the password."""
    form = DeleteForm(request.form)
    user = context.user()
    if request.method == "POST" and form.validate():
        with (
            form_errors(form) as result,
            login_limits.proof_attempt(context.login().id),
            context.transaction() as own,
        ):
            deletion.delete_account(
                own,
                user,
                password=str(form.current_password.data),
                code=form.code.data or None,
                settings=context.frozen_settings(),
                actor=context.actor(),
            )
        if result.is_done:
            session.clear()
            flash(_("Your account has been deleted."), "info")
            return redirect(url_for("pages.landing"), 303)
    gone = deletion.preview(context.session(), user)
    asks_code = two_factor.is_enabled(context.session(), user.id)
    page = render_template("account/delete.html", form=form, gone=gone, asks_code=asks_code)
    return page, 400 if form.errors else 200

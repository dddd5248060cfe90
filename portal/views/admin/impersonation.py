"""Impersonation of a user by an admin, and reset of a user's second factor."""

import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.services.accounts import impersonation, two_factor, users
from portal.forms.admin import ReasonForm
from portal.forms.domain_errors import form_errors
from portal.i18n import gettext as _
from portal.request import auth, context

blueprint = Blueprint("admin_view_as", __name__, url_prefix="/admin/users")
blueprint.before_request(auth.require_admin)
# Ending is outside the admin area, which is closed during impersonation.
exit_blueprint = Blueprint("view_as", __name__)
exit_blueprint.before_request(auth.require_login)


@blueprint.route("/<uuid:user_id>/view-as", methods=["GET", "POST"])
def begin(user_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Explain impersonation and begin it with a reason; the user is notified by e-mail."""
    user = users.by_id(context.session(), user_id)
    form = ReasonForm(request.form)
    if request.method == "POST" and form.validate():
        with form_errors(form) as result, context.transaction() as own:
            impersonation.begin(own, context.login(), user_id, reason=str(form.reason.data), actor=context.actor())
        if result.is_done:
            return redirect(url_for("profile.dashboard"), 303)
    return render_template("admin/impersonation.html", profile_user=user, form=form), 400 if form.errors else 200


@exit_blueprint.post("/view-as/end")
def end() -> Response:
    """End impersonation and return to the user's page in the admin area."""
    user = impersonation.impersonated_user(context.login())
    if user is None:
        return redirect(url_for("profile.dashboard"), 303)
    with context.transaction() as own:
        impersonation.end(own, context.login())
    return redirect(url_for("admin.user_detail", user_id=user.id), 303)


@blueprint.route("/<uuid:user_id>/two-factor", methods=["GET", "POST"])
def reset_two_factor(user_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Show the status of a user's second factor and remove it with a reason; the user is notified by e-mail."""
    user = users.by_id(context.session(), user_id)
    form = ReasonForm(request.form)
    if request.method == "POST" and form.validate():
        with form_errors(form) as result, context.transaction() as own:
            two_factor.reset(own, user_id, reason=str(form.reason.data), actor=context.actor())
        if result.is_done:
            flash(_("Two-factor authentication of this account is off, and its login sessions have ended."), "good")
            return redirect(url_for("admin.user_detail", user_id=user_id), 303)
    state = two_factor.status(context.session(), user_id)
    page = render_template("admin/reset_two_factor.html", profile_user=user, form=form, state=state)
    return page, 400 if form.errors else 200

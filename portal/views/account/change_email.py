"""Change of the user's e-mail address: requested with the password, confirmed at the new address."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.services.accounts import email_flows
from portal.forms.accounts import EmailForm
from portal.forms.domain_errors import form_errors
from portal.i18n import gettext as _
from portal.request import auth, context, login_limits, rate_limits

blueprint = Blueprint("email", __name__)
blueprint.before_request(auth.require_login)


@blueprint.route("/profile/email", methods=["GET", "POST"])
def change() -> str | Response | tuple[str, int]:
    """Ask for a link to the new address. The response is the same whether or not it is taken."""
    form = EmailForm(request.form)
    on = context.frozen_settings().mail.is_configured
    if request.method == "POST" and on and form.validate():
        rate_limits.count_mailed_link(request.remote_addr)
        with (
            form_errors(form) as result,
            login_limits.proof_attempt(context.login().id),
            context.transaction() as own,
        ):
            email_flows.request_email_change(
                own,
                context.user(),
                email=str(form.email.data),
                password=str(form.current_password.data),
                settings=context.frozen_settings(),
                actor=context.actor(),
            )
        if result.is_done:
            context.enqueue_job("jobs.email_links.send_links")
            flash(
                _("We have sent a link to the new address. The old one stays in use until you follow the link."), "good"
            )
            return redirect(url_for("profile.profile"), 303)
    return render_template("account/email.html", form=form), 400 if form.errors else 200

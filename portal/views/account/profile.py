"""Dashboard, profile, password, time zone and logout of the user."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.payments import PaymentStatus
from models.services.accounts import logins, time_zones, two_factor, users
from models.services.gateway import outages
from models.services.ledger import transfers
from models.services.payments import payment_queries
from models.services.reports import overview
from portal.forms.accounts import PasswordForm
from portal.forms.domain_errors import form_errors
from portal.forms.time_zones import TimeZoneForm
from portal.i18n import gettext as _
from portal.request import auth, context, login_limits
from portal.views.account.logins import clear_browser_session

blueprint = Blueprint("profile", __name__)
blueprint.before_request(auth.require_login)


@blueprint.get("/dashboard")
def dashboard() -> str:
    """Show the balance, active tokens, usage and what needs attention."""
    user, gap = context.user(), context.settings().upstream.probe_gap
    newest = payment_queries.list_payments(context.session(), limit=5, offset=0, user_id=user.id).items
    return render_template(
        "account/dashboard.html",
        wallet=transfers.wallet_of(context.session(), user.id),
        figures=overview.user_overview(context.session(), user.id),
        debt=transfers.debt_of(context.session(), user.id),
        outage=outages.current_outage(context.session(), gap),
        pending=[payment for payment in newest if payment.status is PaymentStatus.PENDING],
    )


@blueprint.get("/profile")
def profile() -> str:
    """Show the user's details and the form for a new password."""
    return _profile(PasswordForm())


@blueprint.post("/profile/password")
def change_password() -> str | Response | tuple[str, int]:
    """Set a new password; every other login ends, and this one gets a fresh session."""
    user = context.user()
    form = PasswordForm(request.form)
    if form.validate():
        with (
            form_errors(form) as result,
            # A stolen login must not be a way to guess the password.
            login_limits.proof_attempt(context.login().id),
            context.transaction() as session_,
        ):
            users.change_password(
                session_,
                user,
                current=str(form.current_password.data),
                new=str(form.new_password.data),
                actor=context.actor(),
            )
            # This browser gets a new login too, so that a stolen copy of its cookie ends with the others.
            opened = auth.open_login(session_, user)
        if result.is_done:
            auth.sign_in(opened)
            flash(_("Your password has been changed. All other login sessions have ended."), "good")
            return redirect(url_for("profile.profile"), 303)
    return _profile(form), 400


@blueprint.post("/profile/time-zone")
def choose_time_zone() -> str | Response | tuple[str, int]:
    """Set the time zone for times and days."""
    form = TimeZoneForm.for_user(context.user().time_zone)
    if not form.validate():
        return _profile(PasswordForm(), form), 400
    with context.transaction() as session_:
        time_zones.set_time_zone(session_, context.user(), str(form.time_zone.data), actor=context.actor())
    flash(_("Time zone saved."), "good")
    return redirect(url_for("profile.profile"), 303)


@blueprint.post("/logout")
def logout() -> Response:
    """End this login."""
    login = context.login()
    with context.transaction() as session_:
        logins.end(session_, login.user, login.id, actor=context.actor())
    return clear_browser_session()


def _profile(form: PasswordForm, zone: TimeZoneForm | None = None) -> str:
    user = context.user()
    return render_template(
        "account/profile.html",
        form=form,
        zone=zone or TimeZoneForm.for_user(user.time_zone),
        has_two_factor=two_factor.is_enabled(context.session(), user.id),
    )

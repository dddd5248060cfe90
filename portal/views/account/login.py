"""Registration, login and the second login step."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from models.email_links import LinkPurpose
from models.services.accounts import email_flows, email_links, time_zones, two_factor, users
from models.services.errors import AccountDisabled, EmailTaken, LoginFailed, OtpInvalid, UsernameTaken
from portal.forms.accounts import LoginForm, RegisterForm
from portal.forms.domain_errors import form_errors
from portal.forms.two_factor import LoginCodeForm
from portal.i18n import chosen_language
from portal.i18n import gettext as _
from portal.request import auth, context, login_limits
from portal.request.safe_redirects import local_path

blueprint = Blueprint("accounts", __name__)


@blueprint.route("/register", methods=["GET", "POST"])
def register() -> str | Response | tuple[str, int]:
    """Create an account; the response is the same whether or not the e-mail address already has one.

    Whether an address has an account is not revealed (docs/spec/invariants.md#28-account-enumeration): a taken address
    leads to the same redirect and message as a new one, after the same hashing of the password. Its owner gets an
    e-mail; without a mail server the message mentions the existing password.

    A taken username is reported. It is checked first: with the unique indexes alone, its error would appear only for
    a free address.
    """
    if current_user.is_authenticated:
        return redirect(url_for("profile.dashboard"))
    form = RegisterForm(request.form, data={"referral_code": request.args.get("ref", "")[:12]})
    if request.method == "POST" and form.validate():
        with form_errors(form) as result, login_limits.registration():
            _register(form)
        if result.is_done:
            if context.frozen_settings().mail.is_configured:
                context.enqueue_job("jobs.email_links.send_links")
                words = _("Check your e-mail for the next step, also if this address already had an account.")
            else:
                words = _(
                    "You can sign in now. If this address already had an account, nothing has changed: use its "
                    "password."
                )
            flash(words, "good")
            return redirect(url_for("accounts.login", next=_next() or None), 303)
    return render_template("account/register.html", form=form, next=_next()), 400 if form.errors else 200


def _register(form: RegisterForm) -> None:
    email, username, settings = str(form.email.data), str(form.username.data), context.frozen_settings()
    try:
        with context.transaction() as session:
            if users.username_taken(session, username):
                raise UsernameTaken
            user = email_flows.register(
                session,
                email=email,
                username=username,
                password=str(form.password.data),
                actor=context.actor(),
                referral_code=form.referral_code.data or "",
                language=chosen_language(),
                settings=settings,
            )
            time_zones.set_if_empty(session, user, form.time_zone.data or "")
    except EmailTaken:
        # The same response as for a new address; see `register`.
        with context.transaction() as session:
            if users.record_second_registration(session, email=email, actor=context.actor()):
                purpose = LinkPurpose.RESET_PASSWORD
                email_links.request_link(session, purpose, email, settings=settings, actor=context.actor())


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> str | Response | tuple[str, int]:
    """Sign in with e-mail and password; users with a second factor continue on the page for its code."""
    if current_user.is_authenticated:
        return redirect(local_path(_next(), url_for("profile.dashboard")))
    form, status = LoginForm(request.form), 200
    if request.method == "POST":
        status = 400
        if form.validate():
            try:
                return _authenticate(str(form.email.data), str(form.password.data))
            except (LoginFailed, AccountDisabled) as error:
                if context.frozen_settings().mail.is_configured and isinstance(error, LoginFailed):
                    form.form_errors.append(
                        _("Incorrect e-mail address or password, or the address is not confirmed yet.")
                    )
                else:
                    form.add_error(error)
                status = 401
    return render_template("account/login.html", form=form, next=_next()), status


def _authenticate(email: str, password: str) -> Response:
    """Check the password and redirect to the second factor, to the e-mailed link, or into the portal.

    Raises LoginFailed and AccountDisabled.
    """
    opened, needs_mail = None, False
    try:
        with login_limits.login_attempt(email) as attempt, context.transaction() as session:
            user = users.authenticate(session, email=email, password=password)
            if not two_factor.is_enabled(session, user.id):
                needs_mail = login_limits.needs_mail(attempt)
                if needs_mail:
                    settings, actor = context.frozen_settings(), context.actor()
                    email_flows.request_sign_in_link(session, user, settings=settings, actor=actor)
                else:
                    opened = auth.open_login(session, user)
    except (LoginFailed, AccountDisabled):
        _record_failed_login(email)
        login_limits.refuse_beyond(attempt)
        raise
    if needs_mail:
        context.enqueue_job("jobs.email_links.send_links")
        flash(_("After many failed attempts to sign in, we have e-mailed you a link to finish signing in."), "info")
        return redirect(url_for("accounts.login", next=_next() or None), 303)
    if opened is None:
        auth.begin_second_step(user)
        return redirect(url_for("accounts.code", next=_next() or None), 303)
    auth.sign_in(opened)
    return redirect(local_path(_next(), url_for("profile.dashboard")), 303)


@blueprint.route("/login/code", methods=["GET", "POST"])
def code() -> str | Response | tuple[str, int]:
    """Ask for the code of the second factor after the password."""
    user = auth.pending_second_step()
    if user is None:
        return redirect(url_for("accounts.login", next=_next() or None))
    form = LoginCodeForm(request.form)
    status = 200
    if request.method == "POST":
        status = 400
        if form.validate():
            try:
                with login_limits.code_attempt(user), context.transaction() as session:
                    two_factor.require(
                        session, user, str(form.code.data), settings=context.frozen_settings(), actor=context.actor()
                    )
                    opened = auth.open_login(session, user)
            except OtpInvalid as error:
                _record_failed_login(user.email)
                form.add_error(error, "code")
                status = 401
            else:
                auth.sign_in(opened)
                return redirect(local_path(_next(), url_for("profile.dashboard")), 303)
    return render_template("account/code.html", form=form, next=_next()), status


def _record_failed_login(email: str) -> None:
    """Record a failed login in a transaction of its own, since that of the attempt was rolled back."""
    with context.transaction() as session:
        users.record_failed_login(session, email=email, actor=context.actor())


def _next() -> str:
    """Return the path to continue with after the login, if it is on this site."""
    return local_path(request.values.get("next"), "")

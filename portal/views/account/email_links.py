"""E-mailed links: password reset, address confirmation and sign-in; requesting a link and following it.

A mail scanner that follows a link must not use it, so a link leads to a page and only its button acts. The link's
secret moves from the address to the browser's session, so that it is in no history and no Referer.
"""

from flask import Blueprint, flash, make_response, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from models.email_links import EmailLink, LinkPurpose
from models.services.accounts import email_flows, email_links, two_factor
from models.services.errors import LinkExpired
from portal.forms.accounts import AddressForm, NewPasswordForm
from portal.i18n import gettext as _
from portal.request import auth, context, rate_limits

blueprint = Blueprint("links", __name__)

SENT = "sent"
SESSION_KEY = "link"
PAGES = {
    LinkPurpose.RESET_PASSWORD: "links.reset",
    LinkPurpose.CONFIRM_EMAIL: "links.confirm",
    LinkPurpose.CHANGE_EMAIL: "links.confirm",
    LinkPurpose.SIGN_IN: "links.finish_login",
}


@blueprint.route("/forgot-password", methods=["GET", "POST"])
def forgot() -> str | Response | tuple[str, int]:
    """Request a link to set a new password."""
    return _request_link_page(LinkPurpose.RESET_PASSWORD, "account/forgot.html", "links.forgot")


@blueprint.route("/confirm-again", methods=["GET", "POST"])
def confirm_again() -> str | Response | tuple[str, int]:
    """Request another link to confirm an address."""
    return _request_link_page(LinkPurpose.CONFIRM_EMAIL, "account/confirm_again.html", "links.confirm_again")


def _request_link_page(purpose: LinkPurpose, template: str, here: str) -> str | Response | tuple[str, int]:
    """Enqueue the request, identically for every address (docs/spec/invariants.md#28-account-enumeration)."""
    form = AddressForm(request.form)
    on = context.frozen_settings().mail.is_configured
    if request.method == "POST" and on and form.validate():
        rate_limits.count_mailed_link(request.remote_addr)
        with context.transaction() as own:
            email = str(form.email.data)
            email_links.request_link(own, purpose, email, settings=context.frozen_settings(), actor=context.actor())
        context.enqueue_job("jobs.email_links.send_links")
        return redirect(url_for(here, sent=1), 303)
    return render_template(template, form=form, sent=SENT in request.args), 400 if form.errors else 200


@blueprint.get("/links/<secret>")
def follow(secret: str) -> Response:
    """Check a link from an e-mail, store it in the session and redirect to its page."""
    try:
        link = email_links.find(context.session(), secret, settings=context.frozen_settings())
    except LinkExpired:
        response = _expired_page()
    else:
        session[SESSION_KEY] = secret
        response = redirect(url_for(PAGES[link.purpose]))
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@blueprint.route("/reset-password", methods=["GET", "POST"])
def reset() -> str | Response | tuple[str, int]:
    """Set a new password with a link; every login ends, and the next one still needs the second factor."""
    form = NewPasswordForm(request.form)
    try:
        link = _link_in_session("links.reset")
        if link is None:
            return redirect(url_for("links.forgot"))
        is_shown = _is_shown(link)
        if not is_shown:
            form.form_errors.append(_("Another link was opened in this browser meanwhile. Check the address below."))
        form.shown.data = str(link.id)
        if request.method == "POST" and form.validate() and is_shown:
            new = str(form.new_password.data)
            with context.transaction() as own:
                email_flows.reset_password(
                    own, session[SESSION_KEY], new, settings=context.frozen_settings(), actor=context.actor()
                )
            session.clear()
            flash(_("Your new password has been set. Sign in with it."), "good")
            return redirect(url_for("accounts.login"), 303)
    except LinkExpired:
        return _expired_page()
    return render_template("account/reset.html", form=form, link=link), 400 if form.errors else 200


@blueprint.route("/confirm-email", methods=["GET", "POST"])
def confirm() -> str | Response | tuple[str, int]:
    """Confirm an address with a link: of a new account, or a changed one."""
    try:
        link = _link_in_session("links.confirm")
        if link is None:
            return redirect(url_for("links.confirm_again"))
        changes = link.purpose is LinkPurpose.CHANGE_EMAIL
        is_shown = _is_shown(link)
        if request.method == "POST" and is_shown:
            act = email_flows.change_email if changes else email_flows.confirm_email
            with context.transaction() as own:
                act(own, session[SESSION_KEY], settings=context.frozen_settings(), actor=context.actor())
            session.pop(SESSION_KEY, None)
            flash(
                _("Your new address is confirmed.")
                if changes
                else _("Your address is confirmed. You can sign in now."),
                "good",
            )
            return redirect(url_for("profile.profile" if changes else "accounts.login"), 303)
    except LinkExpired:
        return _expired_page()
    page = render_template("account/confirm.html", link=link, changes=changes, is_shown=is_shown)
    return page, 200 if is_shown else 400


@blueprint.route("/finish-login", methods=["GET", "POST"])
def finish_login() -> str | Response | tuple[str, int]:
    """Sign in with a link that was e-mailed after the correct password; a second factor is still required."""
    try:
        link = _link_in_session("links.finish_login")
        if link is None:
            return redirect(url_for("accounts.login"))
        is_shown = _is_shown(link)
        if request.method == "POST" and is_shown:
            with context.transaction() as own:
                user = email_flows.sign_in(own, session[SESSION_KEY], settings=context.frozen_settings())
                needs_code = two_factor.is_enabled(own, user.id)
                opened = None if needs_code else auth.open_login(own, user)
            if opened is None:
                auth.begin_second_step(user)
                return redirect(url_for("accounts.code"), 303)
            auth.sign_in(opened)
            return redirect(url_for("profile.dashboard"), 303)
    except LinkExpired:
        return _expired_page()
    page = render_template("account/finish_login.html", link=link, is_shown=is_shown)
    return page, 200 if is_shown else 400


def _is_shown(link: EmailLink) -> bool:
    """Return whether a form belongs to this link; another tab may have followed a different one since.

    A page of an older release names no link.
    """
    return request.form.get("shown", str(link.id)) == str(link.id)


def _link_in_session(page: str) -> EmailLink | None:
    """Return the link in the browser's session, if it leads to this page. Raises LinkExpired."""
    secret = session.get(SESSION_KEY)
    if not isinstance(secret, str):
        return None
    link = email_links.find(context.session(), secret, settings=context.frozen_settings())
    return link if PAGES[link.purpose] == page else None


def _expired_page() -> Response:
    session.pop(SESSION_KEY, None)
    return make_response(render_template("account/link_expired.html"), 410)

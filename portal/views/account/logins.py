"""Login sessions of the user: list and end them."""

import uuid

from flask import Blueprint, flash, redirect, render_template, session, url_for
from werkzeug.wrappers import Response

from models.services.accounts import logins
from portal.i18n import gettext as _
from portal.i18n import ngettext
from portal.request import auth, context
from portal.request.pagination import page_slice

blueprint = Blueprint("logins", __name__, url_prefix="/profile/logins")
blueprint.before_request(auth.require_login)


@blueprint.get("")
def listing() -> str:
    """List active login sessions, the current one marked."""
    own = logins.of_user(context.session(), context.user().id, **page_slice())
    return render_template("account/logins.html", page=own, here=context.login().id)


@blueprint.post("/<uuid:login_id>/end")
def end(login_id: uuid.UUID) -> Response:
    """End one login session, which may be the current one."""
    with context.transaction() as own:
        logins.end(own, context.user(), login_id, actor=context.actor())
    if login_id == context.login().id:
        return clear_browser_session()
    flash(_("The login session has ended."), "good")
    return redirect(url_for("logins.listing"), 303)


@blueprint.post("/end-others")
def end_others() -> Response:
    """End all other login sessions."""
    with context.transaction() as own:
        count = logins.end_others(own, context.user().id, keep=context.login().id, actor=context.actor())
    if count:
        flash(
            ngettext("%(num)d other login session has ended.", "%(num)d other login sessions have ended.", count),
            "good",
        )
    else:
        flash(_("There were no other login sessions."), "info")
    return redirect(url_for("logins.listing"), 303)


@blueprint.post("/end-all")
def end_all() -> Response:
    """End all login sessions, including this one."""
    with context.transaction() as own:
        logins.end_all(own, context.user().id, actor=context.actor())
    return clear_browser_session()


def clear_browser_session() -> Response:
    """Clear the browser's session and redirect to the landing page."""
    session.clear()
    flash(_("You have signed out."), "info")
    return redirect(url_for("pages.landing"), 303)

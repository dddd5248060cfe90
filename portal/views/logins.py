"""The user's own logins: which there are, and ending them."""

import uuid

from flask import Blueprint, flash, redirect, render_template, session, url_for
from werkzeug.wrappers import Response

from models.services.accounts import logins
from portal import access, current
from portal.i18n import gettext as _
from portal.i18n import ngettext
from portal.paging import window

blueprint = Blueprint("logins", __name__, url_prefix="/profile/logins")
blueprint.before_request(access.require_login)


@blueprint.get("")
def listing() -> str:
    """Show every open login, this one marked."""
    own = logins.of_user(current.session(), current.user().id, **window())
    return render_template("profile/logins.html", page=own, here=current.login().id)


@blueprint.post("/<uuid:login_id>/end")
def end(login_id: uuid.UUID) -> Response:
    """End one login; this one too, if it is the one."""
    with current.transaction() as own:
        logins.end(own, current.user(), login_id, actor=current.actor())
    if login_id == current.login().id:
        return leave()
    flash(_("That login has ended."), "good")
    return redirect(url_for("logins.listing"), 303)


@blueprint.post("/end-others")
def end_others() -> Response:
    """End every login but this one."""
    with current.transaction() as own:
        count = logins.end_others(own, current.user().id, keep=current.login().id, actor=current.actor())
    if count:
        flash(ngettext("%(num)d other login has ended.", "%(num)d other logins have ended.", count), "good")
    else:
        flash(_("There was no other login."), "info")
    return redirect(url_for("logins.listing"), 303)


@blueprint.post("/end-all")
def end_all() -> Response:
    """Log out everywhere, here too."""
    with current.transaction() as own:
        logins.end_all(own, current.user().id, actor=current.actor())
    return leave()


def leave() -> Response:
    """Forget the browser's session, and say so."""
    session.clear()
    flash(_("You are logged out."), "info")
    return redirect(url_for("pages.landing"), 303)

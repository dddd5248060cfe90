"""The user's own API keys: making one, which is shown once, and ending it."""

import uuid

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from models import clock
from models.api_keys import KeyScope
from models.services import api_keys
from models.services.errors import InvalidInput
from portal import access, current
from portal.forms.keys import SCOPES, KeyForm
from portal.i18n import gettext as _
from portal.paging import window

blueprint = Blueprint("keys", __name__, url_prefix="/profile/keys")
blueprint.before_request(access.require_login)


@blueprint.get("")
def listing() -> str:
    """Show the keys, and the form for another one."""
    return _page(KeyForm.of(current.user()))


@blueprint.post("")
def create() -> str | tuple[str, int]:
    """Make a key and show its secret, in this one reply and nowhere else."""
    form = KeyForm.of(current.user())
    if not form.validate():
        return _page(form), 400
    try:
        with current.transaction() as session:
            key, secret = api_keys.create(
                session,
                current.user(),
                name=str(form.name.data),
                scope=KeyScope(form.scope.data),
                days=form.days.data or None,
                settings=current.settings(),
                actor=current.actor(),
            )
    except InvalidInput as error:
        form.refuse(error)
        return _page(form), 400
    return render_template("profile/key_secret.html", key=key, secret=secret, scope=SCOPES[key.scope])


@blueprint.post("/<uuid:key_id>/end")
def end(key_id: uuid.UUID) -> Response:
    """End a key; whatever uses it is refused from then on."""
    with current.transaction() as session:
        api_keys.end(session, current.user(), key_id, actor=current.actor())
    flash(_("The key has ended."), "good")
    return redirect(url_for("keys.listing"), 303)


def _page(form: KeyForm) -> str:
    page = api_keys.of_user(current.session(), current.user().id, **window())
    return render_template("profile/keys.html", page=page, form=form, scopes=SCOPES, now=clock.now())

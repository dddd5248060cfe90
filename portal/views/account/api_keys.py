"""API keys of the user: create one, shown once, and revoke it."""

import uuid

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from models import clock
from models.api_keys import KeyScope
from models.services.accounts import api_keys
from portal.forms.api_keys import SCOPES, KeyForm
from portal.forms.domain_errors import form_errors
from portal.i18n import gettext as _
from portal.presentation import confirmation
from portal.request import auth, context
from portal.request.pagination import page_slice

blueprint = Blueprint("keys", __name__, url_prefix="/profile/keys")
blueprint.before_request(auth.require_login)


@blueprint.get("")
def listing() -> str:
    """Show the keys and the form for a new one."""
    return _page(KeyForm.of(context.user(), key_id=uuid.uuid4()))


@blueprint.post("")
def create() -> str | Response | tuple[str, int]:
    """Create a key and show its secret once, in this response; a form submitted twice creates one key."""
    form = KeyForm.of(context.user())
    if not form.validate():
        return _page(form), 400
    with form_errors(form) as result, context.transaction() as session:
        key, secret = api_keys.create(
            session,
            context.user(),
            name=str(form.name.data),
            scope=KeyScope(form.scope.data),
            days=form.days.data or None,
            settings=context.settings(),
            actor=context.actor(),
            key_id=form.key_id.data,
        )
    if result.is_form_error:
        return _page(form), result.status
    if not result.is_done:
        return redirect(url_for("keys.listing"), 303)
    return render_template("account/api_key_secret.html", key=key, secret=secret, scope=SCOPES[key.scope])


@blueprint.get("/<uuid:key_id>/end")
def confirm_end(key_id: uuid.UUID) -> str:
    """Ask for confirmation before a key is revoked."""
    key = api_keys.own(context.session(), context.user(), key_id)
    return confirmation.ask(
        _("Revoke this API key?"),
        [_("Programs that use this key lose access immediately. This cannot be undone.")],
        about=f"{key.name} · {api_keys.PREFIX}{key.prefix}…",
        action=url_for("keys.end", key_id=key_id),
        button=_("Revoke key"),
        back=url_for("keys.listing"),
    )


@blueprint.post("/<uuid:key_id>/end")
def end(key_id: uuid.UUID) -> Response:
    """Revoke a key; programs that use it lose access immediately."""
    with context.transaction() as session:
        api_keys.revoke(session, context.user(), key_id, actor=context.actor())
    flash(_("The API key has been revoked."), "good")
    return redirect(url_for("keys.listing"), 303)


def _page(form: KeyForm) -> str:
    page = api_keys.of_user(context.session(), context.user().id, **page_slice())
    return render_template("account/api_keys.html", page=page, form=form, scopes=SCOPES, now=clock.now())

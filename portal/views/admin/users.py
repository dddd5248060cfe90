"""Admin pages for users: list, profile, search and changes to an account."""

import uuid
from collections.abc import Callable

from flask import Response as FlaskResponse
from flask import flash, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from models.services.accounts import logins, roles, users
from models.services.actor import Actor
from models.services.admin import search as admin_search
from models.services.admin import user_list as admin_user_list
from models.services.admin import user_profile
from models.services.errors import (
    DomainError,
    LastSuperuser,
    NotFound,
)
from models.services.ledger import adjustments, transfers
from models.services.ledger.money import parse_amount
from models.users import User
from portal.documents import list_export
from portal.forms.admin import AdjustForm, NoteForm
from portal.forms.domain_errors import form_errors
from portal.i18n import gettext as _
from portal.i18n import ngettext
from portal.presentation import error_messages, formatting
from portal.request import context
from portal.status import failed_requests
from portal.views.admin.dashboard import blueprint

# Users that one form can enable or disable; a page shows fewer.
MAX_SELECTED = 100
ACTIVE = {"active": True, "disabled": False}


@blueprint.get("/users")
def user_list() -> str | FlaskResponse:
    """List users; `q` searches addresses and names."""
    wanted = request.args.get("q", "")[:100]
    state, money = request.args.get("state", ""), request.args.get("money", "")
    sort = request.args.get("sort", "")
    listing = admin_user_list.list_users(
        words=wanted, active=ACTIVE.get(state), admins=state == "admins", money=money, sort=sort
    )
    if list_export.is_wanted():
        return list_export.as_csv("users", USER_COLUMNS, listing)
    page = list_export.page_of(listing)
    sums = admin_user_list.balances_of(context.session(), [user.id for user in page.items])
    facts = {"q": wanted, "state": state, "money": money, "sort": sort}
    return render_template("admin/users.html", page=page, sums=sums, **facts)


USER_COLUMNS: dict[str, Callable[[User], list_export.Cell]] = {
    "id": lambda user: str(user.id),
    "email": lambda user: user.email,
    "username": lambda user: user.username,
    "full_name": lambda user: user.full_name,
    "is_active": lambda user: str(user.is_active),
    "is_superuser": lambda user: str(user.is_superuser),
    "created_at": lambda user: user.created_at,
}


@blueprint.post("/users/bulk")
def change_users() -> str | Response:
    """Disable or enable several users, after a confirmation that lists them."""
    active = request.form.get("action") == "enable"
    chosen = _chosen_ids()
    if not chosen:
        flash(_("Select at least one user."), "info")
        return redirect(url_for("admin.user_list"), 303)
    if request.form.get("confirmed") != "1":
        listed = [users.by_id(context.session(), user_id) for user_id in chosen]
        return render_template("admin/users_bulk.html", chosen=listed, active=active)
    changed = 0
    for user_id in chosen:
        # One transaction each, so that the last admin or a deleted account does not prevent the other changes.
        try:
            with context.transaction() as session:
                roles.set_active(session, user_id, active=active, actor=context.actor())
            changed += 1
        except (LastSuperuser, NotFound) as error:
            flash(error_messages.message_of(error), "bad")
    if active:
        flash(ngettext("%(num)d account enabled.", "%(num)d accounts enabled.", changed), "good")
    else:
        flash(ngettext("%(num)d account disabled.", "%(num)d accounts disabled.", changed), "good")
    return redirect(url_for("admin.user_list"), 303)


@blueprint.post("/find")
def find() -> Response:
    """Redirect from an address, name, token, or id of a payment or request to its page.

    A POST, because a pasted secret must not become part of an address.
    """
    found = admin_search.find(context.session(), request.form.get("q", "")[:200])
    match found.kind:
        case "user":
            where = url_for("admin.user_detail", user_id=found.name)
        case "payment":
            where = url_for("admin_payments.detail", payment_id=found.name)
        case "tokens":
            where = url_for("admin.token_list", q=found.name)
        case "request":
            where = url_for("admin.audit_log", request=found.name)
        case _ if failed_requests.find(found.name) is not None:
            where = url_for("admin.audit_log", request=found.name)
        case _:
            where = url_for("admin.user_list", q=found.name or None)
    return redirect(where, 303)


@blueprint.get("/users/<uuid:user_id>")
def user_detail(user_id: uuid.UUID) -> str:
    """Show a user's profile."""
    return _user_page(user_id, AdjustForm(data={"key": uuid.uuid4()}))


@blueprint.post("/users/<uuid:user_id>/adjust")
def adjust(user_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Adjust a balance with a reason; a form submitted twice acts once."""
    user = users.by_id(context.session(), user_id)
    form = AdjustForm(request.form)
    if not form.validate():
        return _user_page(user_id, form), 400
    repeated = _("This change has already been recorded and was not applied twice.")
    with form_errors(form, repeated=repeated) as result, context.transaction() as session:
        balance = adjustments.adjust(
            session,
            user,
            amount=parse_amount(str(form.amount.data), signed=True),
            reason=str(form.reason.data),
            actor=context.actor(),
            key=form.key.data,
        )
    if result.is_form_error:
        return _user_page(user_id, form), 400
    if result.is_done:
        flash(_("New balance: %(balance)s ZNC.", balance=formatting.amount(balance)), "good")
    return _to_user(user_id)


@blueprint.post("/users/<uuid:user_id>/active")
def set_active(user_id: uuid.UUID) -> Response:
    """Disable or enable a user; disabling ends logins and blocks tokens immediately."""
    active = request.form.get("active") == "1"
    said = _("The account has been enabled.") if active else _("The account has been disabled.")
    return _change(user_id, said, lambda session, actor: roles.set_active(session, user_id, active=active, actor=actor))


@blueprint.post("/users/<uuid:user_id>/superuser")
def set_superuser(user_id: uuid.UUID) -> Response:
    """Grant or remove the admin role; the last admin keeps it."""
    on = request.form.get("on") == "1"
    said = _("The user is now an admin.") if on else _("The user is no longer an admin.")
    return _change(
        user_id, said, lambda session, actor: roles.set_superuser(session, user_id, superuser=on, actor=actor)
    )


@blueprint.post("/users/<uuid:user_id>/logins/end")
def end_logins(user_id: uuid.UUID) -> Response:
    """End all logins of a user, on pages and in the API; access tokens keep working."""
    said = _("All login sessions of this user have ended.")
    return _change(user_id, said, lambda session, actor: logins.end_all(session, user_id, actor=actor))


@blueprint.post("/users/<uuid:user_id>/notes")
def add_note(user_id: uuid.UUID) -> Response:
    """Add a note about a user for other admins."""
    text = NoteForm(request.form).text.data or ""
    said = _("Note saved.")
    return _change(
        user_id, said, lambda session, actor: user_profile.add_note(session, user_id, text=text, actor=actor)
    )


def _change(user_id: uuid.UUID, said: str, call: Callable[[Session, Actor], object]) -> Response:
    """Apply a change in one transaction and flash its result."""
    users.by_id(context.session(), user_id)
    try:
        with context.transaction() as session:
            call(session, context.actor())
    except DomainError as error:
        flash(error_messages.message_of(error), "bad")
    else:
        flash(said, "good")
    return _to_user(user_id)


def _to_user(user_id: uuid.UUID) -> Response:
    return redirect(url_for("admin.user_detail", user_id=user_id), 303)


def _chosen_ids() -> list[uuid.UUID]:
    try:
        return [uuid.UUID(text) for text in request.form.getlist("user")[:MAX_SELECTED]]
    except ValueError:
        return []


def _user_page(user_id: uuid.UUID, form: AdjustForm) -> str:
    profile = user_profile.load_profile(context.session(), user_id)
    facts = {"form": form, "note": NoteForm(), "signed_amount": transfers.signed_amount}
    return render_template(
        "admin/user.html", profile=profile, profile_user=profile.user, wallet=profile.wallet, **facts
    )

"""The office: what admins see and do. Every route here is 403 for a user."""

import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.audit import AuditAction
from models.services import adjustments, audit, crediting, ledger, overview, payments, sessions, tokens, users
from models.services.errors import DuplicateTransfer, InsufficientFunds, InvalidInput, LastSuperuser
from models.services.money import parse_amount
from portal import access, current, words
from portal.forms.admin import AdjustForm
from portal.i18n import gettext as _
from portal.paging import Window, window

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
blueprint.before_request(access.require_admin)

FEW = Window(limit=10, offset=0)


@blueprint.get("/")
def index() -> str:
    """Show the figures of the shop, each with the way to its list, and what happened last."""
    return render_template(
        "admin/index.html", figures=overview.of_shop(current.session()), entries=audit.entries(current.session(), **FEW)
    )


@blueprint.get("/users")
def user_list() -> str:
    """List users; `q` looks in addresses and names."""
    wanted = request.args.get("q", "")[:100]
    page = users.search(current.session(), words=wanted, **window())
    return render_template("admin/users.html", page=page, q=wanted)


@blueprint.get("/users/<uuid:user_id>")
def user_detail(user_id: uuid.UUID) -> str:
    """Show everything about one person."""
    return _user_page(user_id, AdjustForm(data={"key": uuid.uuid4()}))


@blueprint.post("/users/<uuid:user_id>/adjust")
def adjust(user_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Give or take ZNC, with a reason; sent twice it acts once."""
    person = users.by_id(current.session(), user_id)
    form = AdjustForm(request.form)
    if not form.validate():
        return _user_page(user_id, form), 400
    try:
        amount = parse_amount(str(form.amount.data), signed=True)
        with current.transaction() as session:
            balance = adjustments.adjust(
                session,
                person,
                amount=amount,
                reason=str(form.reason.data),
                actor=current.actor(),
                key=form.key.data,
            )
    except (InvalidInput, InsufficientFunds) as error:
        form.refuse(error, None if isinstance(error, InvalidInput) else "amount")
        return _user_page(user_id, form), 400
    except DuplicateTransfer:
        flash(_("This change is booked already; it was not made twice."), "info")
    else:
        flash(_("The balance is now %(balance)s ZNC.", balance=words.amount(balance)), "good")
    return redirect(url_for("admin.user_detail", user_id=user_id), 303)


@blueprint.post("/users/<uuid:user_id>/active")
def set_active(user_id: uuid.UUID) -> Response:
    """Disable a user, or enable him again; a disabled one's logins and tokens end at once."""
    active = request.form.get("active") == "1"
    try:
        with current.transaction() as session:
            users.set_active(session, user_id, active=active, actor=current.actor())
    except LastSuperuser as error:
        flash(words.sentence(error), "bad")
    else:
        flash(_("The account is enabled.") if active else _("The account is disabled."), "good")
    return redirect(url_for("admin.user_detail", user_id=user_id), 303)


@blueprint.get("/tokens")
def token_list() -> str:
    """List tokens; `q` is the start of one."""
    prefix = request.args.get("q", "")[:100]
    page = tokens.search(current.session(), prefix=prefix, **window())
    return render_template("admin/tokens.html", page=page, q=prefix)


@blueprint.get("/sessions")
def session_list() -> str:
    """List proxy sessions, all or the open ones."""
    open_only = request.args.get("open") == "1"
    page = sessions.listing(current.session(), open_only=open_only, **window())
    return render_template("admin/sessions.html", page=page, open_only=open_only)


@blueprint.get("/outages")
def outage_list() -> str:
    """List the upstream's outages, with what was credited for each."""
    return render_template("admin/outages.html", page=crediting.listing(current.session(), **window()))


@blueprint.get("/audit")
def audit_log() -> str:
    """List what happened, by action and by person."""
    action = next((known for known in AuditAction if known == request.args.get("action")), None)
    person = request.args.get("user", type=uuid.UUID)
    page = audit.entries(current.session(), action=action, user_id=person, **window())
    return render_template("admin/audit.html", page=page, action=action, actions=list(AuditAction), person=person)


def _user_page(user_id: uuid.UUID, form: AdjustForm) -> str:
    person = users.by_id(current.session(), user_id)
    wallet = ledger.wallet_of(current.session(), person.id)
    return render_template(
        "admin/user.html",
        person=person,
        wallet=wallet,
        debt=ledger.debt_of(current.session(), person.id),
        form=form,
        signed_amount=ledger.signed_amount,
        transactions=ledger.transactions(current.session(), wallet, **FEW),
        tokens=tokens.of_user(current.session(), person.id, **FEW),
        sessions=sessions.listing(current.session(), user_id=person.id, **FEW),
        payments=payments.listing(current.session(), user_id=person.id, **FEW),
        entries=audit.entries(current.session(), user_id=person.id, **FEW),
    )

"""Admin page of unclaimed money: payments for deleted accounts, refunded or booked to the returned user."""

import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.services.accounts import users
from models.services.errors import DuplicateTransfer, NotFound, NotRefundable, PaymentSpent
from models.services.payments import payment_queries, unclaimed_claims
from portal.i18n import gettext as _
from portal.presentation import formatting
from portal.request import auth, context
from portal.request.pagination import page_slice

blueprint = Blueprint("admin_unclaimed", __name__, url_prefix="/admin/unclaimed")
blueprint.before_request(auth.require_admin)


@blueprint.get("")
def listing() -> str:
    """List what came for deleted accounts, by payment."""
    page = unclaimed_claims.list_unclaimed(context.session(), **page_slice())
    return render_template("admin/unclaimed.html", page=page, new_key=uuid.uuid4)


@blueprint.post("/refund/<uuid:payment_id>")
def refund(payment_id: uuid.UUID) -> Response:
    """Refund the unclaimed money of a payment to its payer; sent twice it acts once."""
    payment_queries.by_id(context.session(), payment_id)
    key = request.form.get("key", type=uuid.UUID) or uuid.uuid4()
    try:
        with context.transaction() as session:
            unclaimed_claims.refund_to_payer(session, payment_id, key=key, actor=context.actor())
    except (DuplicateTransfer, NotFound, NotRefundable, PaymentSpent):
        _flash_settled()
    else:
        context.enqueue_job("jobs.payments.send_refund", str(key))
        flash(_("The refund has been recorded and sent to the provider."), "good")
    return redirect(url_for("admin_unclaimed.listing"), 303)


@blueprint.post("/book/<uuid:payer_id>")
def book(payer_id: uuid.UUID) -> Response:
    """Book unclaimed money to the account with which its payer has registered again; sent twice it acts once."""
    users.by_id(context.session(), payer_id)
    payment_id = request.form.get("payment_id", type=uuid.UUID)
    try:
        with context.transaction() as session:
            amount = unclaimed_claims.book_to_returned(session, payer_id, payment_id, actor=context.actor())
    except NotFound:
        _flash_settled()
    else:
        flash(_("%(amount)s ZNC have been booked to the user.", amount=formatting.amount(amount)), "good")
    return redirect(url_for("admin_unclaimed.listing"), 303)


def _flash_settled() -> None:
    flash(_("Nothing is left to do: this money is no longer unclaimed."), "info")

"""The office's payments: all of them, one of them, giving money back, and what a person has to look at."""

import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.services import ledger, payments, reversals, reviews
from models.services.errors import DuplicateTransfer, InsufficientFunds, InvalidInput, NotRefundable
from models.services.money import parse_amount
from portal import access, current, words
from portal.forms.admin import RefundForm
from portal.i18n import gettext as _
from portal.paging import window

blueprint = Blueprint("admin_payments", __name__, url_prefix="/admin/payments")
blueprint.before_request(access.require_admin)


@blueprint.get("")
def listing() -> str:
    """List payments."""
    page = payments.listing(current.session(), **window())
    return render_template("admin/payments.html", page=page, to_review=reviews.count(current.session()))


@blueprint.get("/review")
def review_list() -> str:
    """List what no rule could decide."""
    return render_template("admin/payment_review.html", page=reviews.listing(current.session(), **window()))


@blueprint.post("/review/<uuid:event_id>")
def close_review(event_id: uuid.UUID) -> Response:
    """Take an event off the list, with a note of what was done."""
    try:
        with current.transaction() as session:
            reviews.close(session, event_id, note=request.form.get("note", ""), actor=current.actor())
    except InvalidInput as error:
        flash(words.sentence(error), "bad")
    else:
        flash(_("It is off the list."), "good")
    return redirect(url_for("admin_payments.review_list"), 303)


@blueprint.get("/<uuid:payment_id>")
def detail(payment_id: uuid.UUID) -> str:
    """Show everything about one payment."""
    payment = payments.by_id(current.session(), payment_id)
    left = payment.amount_rub - payment.returned_rub
    return _payment_page(payment_id, RefundForm(data={"key": uuid.uuid4(), "amount": f"{left:.2f}"}))


@blueprint.post("/<uuid:payment_id>/refund")
def refund(payment_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Give a payment, or a part of it, back to the payer; sent twice it acts once."""
    form = RefundForm(request.form)
    if not form.validate() or form.key.data is None:
        return _payment_page(payment_id, form), 400
    try:
        amount = parse_amount(str(form.amount.data))
        reason, key, actor = str(form.reason.data), form.key.data, current.actor()
        with current.transaction() as session:
            reversals.request(session, payment_id, amount_rub=amount, reason=reason, key=key, actor=actor)
    except (InvalidInput, InsufficientFunds, NotRefundable) as error:
        form.refuse(error, None if isinstance(error, InvalidInput) else "amount")
        return _payment_page(payment_id, form), 400
    except DuplicateTransfer:
        flash(_("This refund is booked already; it was not made twice."), "info")
    else:
        current.later("jobs.payments.send_refund", str(key))
        flash(_("The refund is booked, and the provider is being asked to carry it out."), "good")
    return redirect(url_for("admin_payments.detail", payment_id=payment_id), 303)


def _payment_page(payment_id: uuid.UUID, form: RefundForm) -> str:
    session = current.session()
    payment = payments.by_id(session, payment_id)
    return render_template(
        "admin/payment.html",
        payment=payment,
        wallet=ledger.wallet_of(session, payment.user_id),
        reversals=reversals.of_payment(session, payment_id),
        events=payments.events_of(session, payment_id),
        form=form,
    )

"""Admin pages for payments: list, details, refunds, chargebacks and manual review."""

import uuid
from collections.abc import Callable

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask import Response as FlaskResponse
from werkzeug.wrappers import Response

from models.payments import Payment, PaymentEvent, PaymentStatus, ReversalState
from models.services.admin import lists as admin_lists
from models.services.errors import (
    InvalidInput,
    NotFound,
)
from models.services.ledger.money import parse_amount
from models.services.payments import (
    manual_booking,
    manual_review,
    payment_queries,
    refunds,
    reversals,
    settlement,
    unclaimed_money,
    unspent,
)
from portal.documents import list_export
from portal.forms.admin import ChargebackForm, RefundForm
from portal.forms.domain_errors import flashed_errors, form_errors
from portal.i18n import gettext as _
from portal.presentation import error_messages
from portal.request import auth, context
from portal.request.pagination import page_slice

blueprint = Blueprint("admin_payments", __name__, url_prefix="/admin/payments")
blueprint.before_request(auth.require_admin)


COLUMNS: dict[str, Callable[[Payment], list_export.Cell]] = {
    "id": lambda payment: str(payment.id),
    "user": lambda payment: payment.user.email,
    "provider": lambda payment: payment.provider,
    "provider_payment_id": lambda payment: payment.provider_payment_id,
    "status": lambda payment: payment.status.value,
    "amount_znc": lambda payment: payment.amount_znc,
    "amount_rub": lambda payment: payment.amount_rub,
    "returned_rub": lambda payment: payment.returned_rub,
    "created_at": lambda payment: payment.created_at,
    "settled_at": lambda payment: payment.settled_at,
}

REVIEW_COLUMNS: dict[str, list_export.Column[PaymentEvent]] = {
    "id": lambda event: str(event.id),
    "payment": lambda event: str(event.payment_id),
    "user": lambda event: event.payment.user.email,
    "provider": lambda event: event.provider,
    "outcome": lambda event: event.outcome,
    "amount_rub": lambda event: event.amount_rub,
    "currency": lambda event: event.currency,
    "result": lambda event: event.result,
    "received_at": lambda event: event.received_at,
}


@blueprint.get("")
def listing() -> str | FlaskResponse:
    """List payments by state, provider and payer."""
    status = next((known for known in PaymentStatus if known == request.args.get("status")), None)
    provider, user_id = request.args.get("provider", "")[:64], request.args.get("user", type=uuid.UUID)
    found = admin_lists.payments(status=status, provider=provider, user_id=user_id)
    if list_export.is_wanted():
        return list_export.as_csv("payments", COLUMNS, found)
    facts = {"status": status, "statuses": list(PaymentStatus), "provider": provider, "user_id": user_id}
    providers = context.settings().payments.known
    to_review = manual_review.count(context.session())
    page = list_export.page_of(found)
    return render_template("admin/payments.html", page=page, to_review=to_review, providers=providers, **facts)


@blueprint.get("/review")
def review_list() -> str | FlaskResponse:
    """List payment events that need manual review."""
    if list_export.is_wanted():
        return list_export.as_csv("payments-to-review", REVIEW_COLUMNS, manual_review.list_reviews())
    return _review_page()


@blueprint.post("/review/<uuid:event_id>")
def close_review(event_id: uuid.UUID) -> Response | tuple[str, int]:
    """Resolve a review with a note, and record its event in the ledger if that was chosen."""
    note, is_booked = request.form.get("note", ""), "book" in request.form
    try:
        with context.transaction() as session:
            if is_booked:
                pausing = context.fresh_settings(session).debt.pause_tokens
                manual_booking.book_event(session, event_id, note=note, actor=context.actor(), pause_tokens=pausing)
            else:
                manual_review.close(session, event_id, note=note, actor=context.actor())
    except InvalidInput as error:
        return _review_page(refused=event_id, note=note, error=error_messages.message_of(error)), 400
    flash(_("Recorded and resolved.") if is_booked else _("The review has been closed."), "good")
    return redirect(url_for("admin_payments.review_list", page=request.args.get("page")), 303)


@blueprint.get("/<uuid:payment_id>")
def detail(payment_id: uuid.UUID) -> str:
    """Show a payment with its events and reversals."""
    return _payment_page(payment_id)


@blueprint.post("/<uuid:payment_id>/ask")
def ask(payment_id: uuid.UUID) -> Response:
    """Query the provider for the status of a payment, and settle it accordingly."""
    payment_queries.by_id(context.session(), payment_id)
    with flashed_errors() as change, context.transaction() as session:
        result = settlement.query_provider(session, payment_id, context.settings())
    if change.is_done and result is None:
        flash(_("The provider has no new status."), "info")
    elif change.is_done:
        flash(_("The provider's answer has been processed."), "good")
    return redirect(url_for("admin_payments.detail", payment_id=payment_id), 303)


@blueprint.post("/<uuid:payment_id>/refund")
def refund(payment_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Refund a payment or a part of it; a form submitted twice refunds once."""
    form = RefundForm(request.form)
    if not form.validate() or form.key.data is None:
        return _payment_page(payment_id, form), 400
    repeated = _("This refund has already been recorded and was not made twice.")
    with form_errors(form, repeated=repeated) as result, context.transaction() as session:
        amount, reason = parse_amount(str(form.amount.data)), str(form.reason.data)
        key, actor = form.key.data, context.actor()
        refunds.request(session, payment_id, amount_rub=amount, reason=reason, key=key, actor=actor)
    if result.is_form_error:
        return _payment_page(payment_id, form), result.status
    if result.is_done:
        context.enqueue_job("jobs.payments.send_refund", str(key))
        flash(_("The refund has been recorded and sent to the provider."), "good")
    return redirect(url_for("admin_payments.detail", payment_id=payment_id), 303)


@blueprint.post("/<uuid:payment_id>/chargeback")
def chargeback(payment_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Record a chargeback; a form submitted twice records it once."""
    form = ChargebackForm(request.form)
    if not form.validate() or form.key.data is None:
        return _payment_page(payment_id, chargeback_form=form), 400
    repeated = _("This chargeback has already been recorded and was not recorded twice.")
    with form_errors(form, repeated=repeated) as result, context.transaction() as session:
        manual_booking.book_chargeback(
            session,
            payment_id,
            amount_rub=parse_amount(str(form.amount.data)),
            reference=str(form.reference.data),
            reason=str(form.reason.data),
            key=form.key.data,
            actor=context.actor(),
            pause_tokens=context.fresh_settings(session).debt.pause_tokens,
        )
    if result.is_form_error:
        return _payment_page(payment_id, chargeback_form=form), result.status
    if result.is_done:
        flash(_("The chargeback has been recorded."), "good")
    return redirect(url_for("admin_payments.detail", payment_id=payment_id), 303)


@blueprint.post("/<uuid:payment_id>/reversals/<uuid:reversal_id>")
def end_reversal(payment_id: uuid.UUID, reversal_id: uuid.UUID) -> Response:
    """Close a refund or dispute manually, with a reason."""
    state = next((known for known in ReversalState if known == request.form.get("state")), None)
    if state is None:
        raise NotFound("state")
    reason, actor = request.form.get("reason", ""), context.actor()
    with flashed_errors(_("Recorded.")), context.transaction() as session:
        manual_booking.end(session, payment_id, reversal_id, state=state, reason=reason, actor=actor)
    return redirect(url_for("admin_payments.detail", payment_id=payment_id), 303)


def _payment_page(
    payment_id: uuid.UUID, form: RefundForm | None = None, *, chargeback_form: ChargebackForm | None = None
) -> str:
    session = context.session()
    payment = payment_queries.by_id(session, payment_id)
    left = payment.amount_rub - payment.returned_rub
    unspent_znc = unclaimed_money.unclaimed_amount(session, payment)
    if unspent_znc is None:
        unspent_znc = unspent.unspent_amount(session, payment)
    refundable = min(left, unspent_znc * payment.rub_per_znc) if unspent_znc < payment.amount_znc else left
    return render_template(
        "admin/payment.html",
        payment=payment,
        unspent=unspent_znc,
        reversals=reversals.list_reversals(session, payment_id),
        endings=manual_booking.ENDINGS,
        events=payment_queries.event_page(session, payment_id, **page_slice("events")),
        form=form or RefundForm(data={"key": uuid.uuid4(), "amount": f"{refundable:.2f}"}),
        chargeback_form=chargeback_form or ChargebackForm(data={"key": uuid.uuid4(), "amount": f"{left:.2f}"}),
    )


def _review_page(**of_a_note: object) -> str:
    page = manual_review.list_reviews().page(context.session(), **page_slice())
    bookable = manual_booking.BOOKABLE
    return render_template("admin/payment_review.html", page=page, bookable=bookable, **of_a_note)

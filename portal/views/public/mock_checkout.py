"""Checkout page of the mock payment provider.

It ignores our logins: anyone with the address of a checkout may decide it, as with a real provider.
"""

import uuid
from typing import Literal

from flask import Blueprint, abort, redirect, render_template, request
from werkzeug.wrappers import Response

from models.payments import Payment
from models.services.payments.providers import mock
from models.services.payments.providers.base import Outcome
from portal.request import context
from portal.request.safe_redirects import without_own_origin

blueprint = Blueprint("mock_checkout", __name__, url_prefix="/mock-checkout")

OUTCOMES: dict[str, Outcome | Literal["declined"]] = {"pay": "succeeded", "cancel": "canceled", "fail": "declined"}


@blueprint.get("/<uuid:checkout_id>")
def checkout(checkout_id: uuid.UUID) -> str:
    """Show the choices of the customer."""
    found = mock.checkout_of(context.session(), checkout_id)
    back = without_own_origin(context.session().get_one(Payment, found.payment_id).return_url)
    return render_template("mock_checkout/checkout.html", checkout=found, back=back)


@blueprint.post("/<uuid:checkout_id>")
def decide(checkout_id: uuid.UUID) -> Response:
    """Record the decision, enqueue the signed callback, and redirect the customer back to the shop."""
    outcome = OUTCOMES.get(request.form.get("outcome", ""))
    if outcome is None:
        abort(400)
    with context.transaction() as session:
        found = mock.checkout_of(session, checkout_id)
        is_first = mock.decide(session, checkout_id, outcome)
        back = session.get_one(Payment, found.payment_id).return_url
    if is_first:
        context.enqueue_job("jobs.payments.deliver_mock_callback", str(checkout_id))
    return redirect(without_own_origin(back), 303)

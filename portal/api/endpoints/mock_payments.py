"""API endpoints of the mock payment provider, which production refuses."""

import uuid

from flask import Response, redirect
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from models.api_keys import KeyScope
from models.payments import Payment, PaymentStatus
from models.services.errors import NotFound
from models.services.ledger import transfers
from models.services.ledger.money import parse_amount
from models.services.payments import payment_queries, settlement, topups
from models.services.payments.providers import mock
from portal.api import authentication
from portal.api.idempotency import OnceHeader, once
from portal.api.openapi.blueprints import blueprint as make_blueprint
from portal.api.openapi.document import documented
from portal.api.responses import body_errors
from portal.api.schemas import wallet as schemas
from portal.request import context
from portal.request.error_pages import ApiError
from portal.request.safe_redirects import own_address, without_own_origin

blueprint = make_blueprint("play", "Mock payments, outside production.", prefix="")


@blueprint.post(
    "/currency/mock-purchase",
    **documented(201, schemas.Settled, example=schemas.SETTLED_EXAMPLE, errors={409: "idempotent_request_in_progress"}),
)
@authentication.needs(KeyScope.BUY)
def mock_purchase(header: OnceHeader, body: schemas.MockPurchase) -> Response:
    """Top up at the mock provider at once.

    It passes through the states of every payment: started, decided at the mock provider, confirmed, settled.
    """
    settings = context.settings()

    def pay(session: Session) -> schemas.Settled:
        with body_errors():
            payment = topups.start(
                session,
                authentication.user(),
                amount=parse_amount(str(body.amount), at_most=settings.limits.topup_max_znc),
                provider="mock",
                return_url=own_address("/wallet"),
                settings=settings,
                actor=authentication.actor(),
            )
        return _settled(session, payment)

    return once(header, body, pay, status=201)


@blueprint.post(
    "/currency/admin/simulate-payment/<uuid:payment_id>",
    **documented(
        200, schemas.Settled, example=schemas.SETTLED_EXAMPLE, errors={404: "payment_not_found", 409: "already_decided"}
    ),
)
@authentication.needs(KeyScope.ADMIN)
def simulate_payment(header: OnceHeader, path: schemas.PaymentPath) -> Response:
    """Pay a payment of the mock provider, as an admin; a settled one is unchanged."""

    def pay(session: Session) -> schemas.Settled:
        return _settled(session, _mock_payment(session, path.payment_id))

    return once(header, None, pay)


@blueprint.get(
    "/webhooks/mock-payment",
    **documented(303, None, errors={404: "payment_not_found"}, is_open=True),
)
@authentication.open_to_all
def mock_payment(query: schemas.MockPaymentQuery) -> AnyResponse:
    """Redirect to the mock provider's checkout of a payment."""
    return redirect(without_own_origin(_mock_payment(context.session(), query.payment_id).checkout_url), 303)


def _mock_payment(session: Session, payment_id: uuid.UUID) -> Payment:
    payment = payment_queries.by_id(session, payment_id)
    if payment.provider != "mock":
        raise NotFound("payment")
    return payment


def _settled(session: Session, payment: Payment) -> schemas.Settled:
    mock.decide(session, uuid.UUID(payment.provider_payment_id), "succeeded")
    settlement.query_provider(session, payment.id, context.settings())
    session.refresh(payment)
    if payment.status is not PaymentStatus.SUCCEEDED:
        raise ApiError(409, "already_decided")
    return schemas.Settled(
        payment_id=payment.id,
        status=payment.status,
        amount=payment.amount_znc,
        new_balance=transfers.wallet_of(session, payment.user_id).balance,
        message=f"{payment.amount_znc:.2f} ZNC were credited.",
    )

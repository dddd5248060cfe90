"""API endpoints for the wallet: balance, transactions and top-ups."""

import uuid

from flask import Response, url_for
from sqlalchemy.orm import Session

from models.api_keys import KeyScope
from models.services.ledger import transfers
from models.services.ledger.money import parse_amount
from models.services.payments import topups
from portal.api import authentication
from portal.api.idempotency import OnceHeader, once
from portal.api.openapi.blueprints import blueprint as make_blueprint
from portal.api.openapi.document import documented
from portal.api.responses import InvalidRequest, body_errors, envelope, reply
from portal.api.schemas import wallet as schemas
from portal.request import context
from portal.request.safe_redirects import return_path

blueprint = make_blueprint("currency", "Wallet: balance, top-ups and transactions.")


@blueprint.get(
    "/balance", **documented(200, schemas.Balance, example={"balance": "82.00", "currency": "ZNC"}, validates=False)
)
@authentication.needs(KeyScope.READ)
def balance() -> Response:
    """Return the balance of the caller's wallet."""
    return reply(schemas.Balance(balance=transfers.wallet_of(context.session(), authentication.user().id).balance))


@blueprint.get(
    "/transactions",
    **documented(
        200,
        schemas.Transactions,
        example={"items": [schemas.TRANSACTION_EXAMPLE], "total": 1, "limit": 10, "offset": 0},
    ),
)
@authentication.needs(KeyScope.READ)
def transactions(query: schemas.TransactionsQuery) -> Response:
    """Return transactions of the caller's wallet, newest first."""
    wallet = transfers.wallet_of(context.session(), authentication.user().id)
    page = transfers.transactions(
        context.session(), wallet, kind=query.transaction_type, limit=query.limit, offset=query.offset
    )
    return envelope(schemas.Transactions, page, lambda entry: schemas.write(entry, wallet))


@blueprint.post(
    "/purchase",
    **documented(
        201,
        schemas.Started,
        example=schemas.STARTED_EXAMPLE,
        errors={409: "idempotent_request_in_progress", 502: ""},
    ),
)
@authentication.needs(KeyScope.BUY)
def top_up(header: OnceHeader, body: schemas.TopUp) -> Response:
    """Start a payment; the buyer pays at `payment_url`, and the wallet is credited when the provider confirms it."""
    settings = context.settings()
    provider = body.provider or next(iter(settings.payments.providers), "")
    if provider not in settings.payments.providers:
        raise InvalidRequest(("body", "provider"), "no such payment provider is switched on")
    payment_id = uuid.uuid4()
    payment_page = url_for("wallet.payment", payment_id=payment_id)
    return_url = return_path(body.return_url or payment_page)
    if return_url is None:
        raise InvalidRequest(
            ("body", "return_url"), "must be a path of the portal, or lead to one of its return_origins"
        )

    def start(session: Session) -> schemas.Started:
        with body_errors(amount="amount_znc"):
            started = topups.start(
                session,
                authentication.user(),
                payment_id=payment_id,
                amount=parse_amount(str(body.amount_znc), at_most=settings.limits.topup_max_znc),
                provider=provider,
                return_url=return_url,
                settings=settings,
                actor=authentication.actor(),
            )
        return schemas.Started(
            payment_id=started.id,
            payment_url=started.checkout_url,
            amount_znc=started.amount_znc,
            amount_rub=started.amount_rub,
            status=started.status,
        )

    return once(header, body, start, status=201)

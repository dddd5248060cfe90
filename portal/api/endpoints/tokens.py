"""API endpoints for access tokens: purchase, list and revocation."""

from flask import Response
from sqlalchemy.orm import Session

from models.api_keys import KeyScope
from models.services.errors import NotFound, TokenEnded
from models.services.ledger import transfers
from models.services.tokens import purchase as token_purchase
from models.services.tokens import queries as token_queries
from models.services.tokens import revocation
from portal.api import authentication
from portal.api.idempotency import OnceHeader, once
from portal.api.openapi.blueprints import blueprint as make_blueprint
from portal.api.openapi.document import documented
from portal.api.responses import reply
from portal.api.schemas import tokens as schemas
from portal.request import context

blueprint = make_blueprint("tokens", "Access tokens.")


@blueprint.post(
    "/purchase",
    **documented(
        201,
        schemas.Token,
        example=schemas.SOLD_EXAMPLE,
        errors={
            400: "duration_unavailable",
            402: "insufficient_funds",
            409: "idempotent_request_in_progress",
        },
    ),
)
@authentication.needs(KeyScope.BUY)
def purchase(header: OnceHeader, body: schemas.Purchase) -> Response:
    """Buy a token.

    Only this response contains the token's secret.
    """

    def buy(session: Session) -> schemas.Token:
        token, secret = token_purchase.purchase(
            session,
            authentication.user(),
            hours=body.duration_hours,
            scope=body.scope,
            name=body.name or "",
            coupon=body.coupon or "",
            settings=context.settings(),
            actor=authentication.actor(),
        )
        return schemas.write(token, secret)

    return once(header, body, buy, status=201)


@blueprint.get("/my-tokens", **documented(200, schemas.Tokens, example=[schemas.TOKEN_EXAMPLE]))
@authentication.needs(KeyScope.READ)
def my_tokens(query: schemas.MineQuery) -> Response:
    """Return the caller's tokens, newest first, as an array; `token` is masked."""
    page = token_queries.of_user(
        context.session(),
        authentication.user().id,
        active_only=query.active_only,
        limit=query.limit,
        offset=query.offset,
    )
    return reply(schemas.Tokens([schemas.write(token) for token in page.items]))


@blueprint.delete(
    "/<uuid:token_id>",
    **documented(200, schemas.Revoked, example=schemas.REVOKED_EXAMPLE, errors={404: "token_not_found"}),
)
@authentication.needs(KeyScope.BUY)
def revoke(path: schemas.TokenPath) -> Response:
    """Revoke a token and refund its unused time to the wallet.

    A revoked or expired token is not found.
    """
    try:
        with context.transaction() as session:
            _token, refund = revocation.revoke(
                session, authentication.user(), path.token_id, settings=context.settings(), actor=authentication.actor()
            )
            balance = transfers.wallet_of(session, authentication.user().id).balance
    except TokenEnded:
        raise NotFound("token") from None
    message = f"Token revoked. {refund:.2f} ZNC refunded to your wallet."
    return reply(schemas.Revoked(revoked=True, refund_amount=refund, new_balance=balance, message=message))

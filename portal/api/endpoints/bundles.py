"""API endpoints for bundles: purchase, and for admins creation and changes."""

import uuid

from flask import Response
from sqlalchemy.orm import Session

from models import bundles as tables
from models.api_keys import KeyScope
from models.services.ledger import transfers
from models.services.tokens import bundles
from portal.api import authentication
from portal.api.idempotency import OnceHeader, once
from portal.api.openapi.blueprints import blueprint as make_blueprint
from portal.api.openapi.document import documented
from portal.api.responses import envelope, reply
from portal.api.schemas import bundles as schemas
from portal.api.schemas import tokens as token_schemas
from portal.request import context

blueprint = make_blueprint("bundles", "Bundles: several tokens at a discount.")

NO_SUCH = {404: "bundle_not_found"}


@blueprint.get(
    "/",
    **documented(
        200,
        schemas.Bundles,
        example={"items": [schemas.BUNDLE_EXAMPLE], "total": 1, "limit": 50, "offset": 0},
    ),
)
@authentication.needs(KeyScope.READ)
def listing(query: schemas.BundlesQuery) -> Response:
    """Return bundles for sale, newest first."""
    page = bundles.offers(context.session(), context.settings(), limit=query.limit, offset=query.offset)
    return envelope(schemas.Bundles, page, _written)


@blueprint.get("/<uuid:bundle_id>", **documented(200, schemas.Bundle, example=schemas.BUNDLE_EXAMPLE, errors=NO_SUCH))
@authentication.needs(KeyScope.READ)
def detail(path: schemas.BundlePath) -> Response:
    """Return a bundle for sale."""
    return reply(_written(bundles.find_offered(context.session(), path.bundle_id)))


@blueprint.post(
    "/<uuid:bundle_id>/purchase",
    **documented(
        200,
        schemas.SoldBundle,
        example=schemas.SALE_EXAMPLE,
        errors={
            **NO_SUCH,
            402: "insufficient_funds",
            409: "idempotent_request_in_progress",
        },
    ),
)
@authentication.needs(KeyScope.BUY)
def purchase(header: OnceHeader, path: schemas.BundlePath, body: schemas.BundlePurchase) -> Response:
    """Buy a bundle.

    Only this response contains the secrets of its tokens.
    """

    def buy(session: Session) -> schemas.SoldBundle:
        sold, made = bundles.purchase(
            session,
            authentication.user(),
            path.bundle_id,
            purchase_id=uuid.uuid4(),
            coupon=body.coupon or "",
            settings=context.settings(),
            actor=authentication.actor(),
        )
        return schemas.SoldBundle(
            bundle_name=sold.bundle_name,
            tokens_generated=len(made),
            cost_znc=sold.price_paid,
            new_balance=transfers.wallet_of(session, authentication.user().id).balance,
            tokens=[token_schemas.write(token, secret) for token, secret in made],
        )

    return once(header, body, buy)


@blueprint.post(
    "/",
    **documented(201, schemas.Bundle, example=schemas.BUNDLE_EXAMPLE, errors={400: "duration_unavailable"}),
)
@authentication.needs(KeyScope.ADMIN)
def create(body: schemas.NewBundle) -> Response:
    """Create a bundle, as an admin."""
    with context.transaction() as session:
        values = body.model_dump()
        made = bundles.save(session, None, **values, settings=context.settings(), actor=authentication.actor())
    return reply(_written(made), 201)


@blueprint.patch(
    "/<uuid:bundle_id>",
    **documented(
        200,
        schemas.Bundle,
        example=schemas.BUNDLE_EXAMPLE,
        errors={**NO_SUCH, 400: "duration_unavailable"},
    ),
)
@authentication.needs(KeyScope.ADMIN)
def change(path: schemas.BundlePath, body: schemas.BundleChanges) -> Response:
    """Change a bundle for future sales, as an admin."""
    changes = body.model_dump(exclude_none=True)
    active = changes.pop("is_active", None)
    with context.transaction() as session:
        bundle = bundles.by_id(session, path.bundle_id)
        if changes:
            stands = schemas.NewBundle.model_validate(bundle).model_dump()
            values = {**stands, **changes}
            bundles.save(session, bundle, **values, settings=context.settings(), actor=authentication.actor())
        if active is not None:
            bundles.set_active(session, bundle.id, active=active, actor=authentication.actor())
        session.refresh(bundle)
        # Within the transaction: without a valid price the whole change is refused.
        written = _written(bundle)
    return reply(written)


@blueprint.delete("/<uuid:bundle_id>", **documented(204, None, errors=NO_SUCH))
@authentication.needs(KeyScope.ADMIN)
def withdraw(path: schemas.BundlePath) -> Response:
    """Withdraw a bundle from sale, as an admin; `is_active` offers it again."""
    with context.transaction() as session:
        bundles.set_active(session, path.bundle_id, active=False, actor=authentication.actor())
    return Response(status=204)


def _written(bundle: tables.Bundle) -> schemas.Bundle:
    return schemas.write(bundle, bundles.price_of(bundle, context.settings()))

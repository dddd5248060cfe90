"""Refunds of bundle tokens while the kept ones are charged at list price (`refund.bundle_rate`)."""

from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.bundles import BundlePurchase
from models.config.settings import Settings


def price_alone(token: AccessToken, settings: Settings) -> Decimal:
    """Return what a bundle's token would have cost alone: the list price at its purchase, and its extensions."""
    share = token.bundle_share or Decimal(0)
    listed = token.list_prices_or(settings.prices.znc).get(token.duration_hours, share)
    return max(listed, share) + token.price_paid - share


def lock(session: Session, token: AccessToken) -> None:
    """Lock the purchase of a bundle's token: of two concurrent revocations, the second counts the first."""
    if token.bundle_purchase_id is not None:
        held = select(BundlePurchase.id).where(BundlePurchase.id == token.bundle_purchase_id)
        session.execute(held.with_for_update(key_share=True))


def due(session: Session, token: AccessToken, charge: Decimal, settings: Settings) -> Decimal:
    """Return the refund for a bundle's token that costs `charge` at the list price.

    The price paid for the bundle's tokens, less the list price of the kept ones, less what the revoked ones cost, less
    earlier refunds. The whole bundle revoked unused refunds the whole price.
    """
    others = select(AccessToken).where(
        AccessToken.bundle_purchase_id == token.bundle_purchase_id, AccessToken.id != token.id
    )
    kept = session.scalars(others.where(AccessToken.revoked_at.is_(None)))
    left = token.price_paid - charge + sum(other.price_paid - price_alone(other, settings) for other in kept)
    settled = AccessToken.price_paid - AccessToken.refund_amount
    revoked = others.where(AccessToken.revoked_at.is_not(None)).with_only_columns(
        func.sum(settled - func.coalesce(AccessToken.bundle_charge, settled))
    )
    return max(Decimal(0), left + (session.scalar(revoked) or Decimal(0)))

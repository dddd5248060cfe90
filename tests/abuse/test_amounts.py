"""Invalid amounts in every form that takes an amount.

docs/spec/invariants.md#10-invalid-amounts
"""

import uuid

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.bundles import Bundle
from models.config.settings import Settings
from models.coupons import Coupon
from models.gift_codes import GiftCode
from models.ledger import Transfer
from models.payments import Payment
from models.services.payments import callbacks, settlement
from models.users import User
from tests.factories import decided, top_up
from tests.portal.conftest import (  # noqa: F401 - fixtures
    Browser,
    app,
    as_dana,
    login,
    made_app,
    queued,
)

COUPONS = ("percent", "amount")
BAD = ["0", "-1", "NaN", "sNaN", "Infinity", "1e30", "0.001", "1,5", "9" * 40, "\u0661", "\u00bd", "1_0"]


def counted(session: Session) -> list[int]:
    session.expire_all()
    kinds = (Transfer, Payment, Bundle, Coupon, GiftCode)
    return [session.scalar(select(func.count()).select_from(kind)) or 0 for kind in kinds]


@pytest.fixture
def payment(session: Session, alice: User, settings: Settings) -> Payment:
    """500 rubles that alice has paid."""
    started = top_up(session, alice, settings)
    stored = callbacks.store_event(session, "mock", decided(session, started, settings))
    assert stored is not None
    settlement.settle(session, stored)
    session.commit()
    return started


@pytest.mark.parametrize("amount", BAD)
def test_10_no_form_accepts_an_invalid_amount(
    as_dana: Browser,  # noqa: F811 - the fixture
    session: Session,
    alice: User,
    payment: Payment,
    amount: str,
) -> None:
    before, reason = counted(session), "a try"
    gift = {"count": "1", "uses_each": "1", "note": reason, "key": str(uuid.uuid4())}
    bundle = {"name": "x", "description": "", "token_count": "2", "duration_hours": "24", "scope": "full"}
    tries = [
        ("/wallet/top-up", {"amount": amount, "provider": "mock"}),
        (f"/admin/payments/{payment.id}/refund", {"amount": amount, "reason": reason, "key": str(uuid.uuid4())}),
        ("/admin/gifts/new", {"amount": amount, **gift}),
    ]
    if amount != "-1":  # takes one ZNC away, which is a good reason for a minus
        adjust = {"amount": amount, "reason": reason, "key": str(uuid.uuid4())}
        tries.append((f"/admin/users/{alice.id}/adjust", adjust))
    tries += [("/admin/coupons/new", {"code": "TRY", kind: amount, "uses_per_user": "1"}) for kind in COUPONS]
    if amount != "0":  # a bundle may be sold without a discount
        tries.append(("/admin/bundles/new", {**bundle, "discount_percent": amount}))
    for path, fields in tries:
        answer = as_dana.post(path, **fields)
        assert answer.status_code == 400, (path, answer.status_code, answer.location)
    assert counted(session) == before


@pytest.mark.parametrize("number", ["0", "-1", "1e9", "9" * 30, "9" * 5000, "1.5"])
def test_10_no_form_accepts_an_invalid_number(
    as_dana: Browser,  # noqa: F811 - the fixture
    session: Session,
    number: str,
) -> None:
    before = counted(session)
    bundle = {"name": "x", "description": "", "duration_hours": "24", "scope": "full", "discount_percent": "10"}
    gift = {"amount": "5", "count": "1", "uses_each": "1", "note": "a try", "key": str(uuid.uuid4())}
    tries = (
        ("/admin/bundles/new", {**bundle, "token_count": number}),
        ("/admin/coupons/new", {"code": "TRY", "percent": "10", "uses_per_user": number}),
        ("/admin/coupons/new", {"code": "TRY", "percent": "10", "uses_in_all": number}),
        ("/admin/gifts/new", {**gift, "count": number}),
        ("/admin/gifts/new", {**gift, "uses_each": number}),
    )
    for path, fields in tries:
        assert as_dana.post(path, **fields).status_code == 400, (path, fields)
    assert counted(session) == before


def test_10_the_last_possible_date_is_accepted_as_an_end(
    as_dana: Browser,  # noqa: F811 - the fixture
    session: Session,
) -> None:
    fields = {"code": "EVER", "percent": "10", "uses_per_user": "1", "valid_until": "9999-12-31"}
    assert as_dana.post("/admin/coupons/new", **fields).status_code == 303
    assert session.scalars(select(Coupon.valid_until)).one().year == 9999  # type: ignore[union-attr]

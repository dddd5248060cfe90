"""Gift codes: credited once, within their limits."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.config.settings import Settings
from models.database import Sessions
from models.gift_codes import GiftCode
from models.services.actor import Actor
from models.services.errors import (
    GiftRefused,
    InvalidInput,
)
from models.services.promotions import gift_codes
from models.users import User
from tests.conftest import Clock
from tests.factories import actions, assert_sound, balance, person, race
from tests.models.services.tokens.test_bundles_and_coupons import gift


def redeem(session: Session, user: User, code: str, settings: Settings) -> Decimal:
    return gift_codes.redeem(session, user, code, settings=settings, actor=Actor(user.id))


def test_a_gift_code_is_credited_once_and_stored_only_as_a_hash(
    session: Session, charlie: User, dana: User, settings: Settings
) -> None:
    code = gift(session, dana, settings)
    assert redeem(session, charlie, f" {code.lower().replace('-', ' ')} ", settings) == 25
    assert balance(session, charlie) == 25
    with pytest.raises(GiftRefused, match="gift_refused_taken"), session.begin_nested():
        redeem(session, charlie, code, settings)
    kept = session.scalars(select(GiftCode)).one()
    assert code.replace("-", "").encode() not in kept.code_hash
    assert kept.prefix == code[:4]
    assert actions(session, charlie)[-1] is AuditAction.GIFT_REDEEMED


def test_a_gift_code_can_expire_be_withdrawn_and_be_used_up(
    *, session: Session, alice: User, bob: User, charlie: User, dana: User, settings: Settings, time: Clock
) -> None:
    code = gift(session, dana, settings, uses_each=2, valid_until=time() + timedelta(hours=1))
    redeem(session, alice, code, settings)
    gift_id = session.scalars(select(GiftCode.id)).one()
    gift_codes.set_active(session, gift_id, active=False, actor=Actor(dana.id))
    with pytest.raises(GiftRefused, match="gift_refused_over"), session.begin_nested():
        redeem(session, bob, code, settings)
    gift_codes.set_active(session, gift_id, active=True, actor=Actor(dana.id))
    redeem(session, bob, code, settings)
    with pytest.raises(GiftRefused, match="gift_refused_over"), session.begin_nested():
        redeem(session, charlie, code, settings)
    late = gift(session, dana, settings, valid_until=time() + timedelta(hours=1))
    time.advance(hours=1)
    with pytest.raises(GiftRefused), session.begin_nested():
        redeem(session, charlie, late, settings)
    for wrong in ("", "AAAA-AAAA-AAAA-AAAA", "\0", "x" * 1000):
        with pytest.raises(GiftRefused, match="gift_refused_unknown"):
            redeem(session, charlie, wrong, settings)


@pytest.mark.parametrize(
    "facts",
    [{"amount": Decimal(0)}, {"amount": Decimal("NaN")}, {"count": 0}, {"count": 1001}, {"uses_each": 0}, {"note": ""}],
)
def test_invalid_gift_codes_are_not_created(
    session: Session, dana: User, settings: Settings, facts: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        gift(session, dana, settings, **facts)


@pytest.mark.parametrize("same_user", [True, False])
def test_of_two_concurrent_users_one_redeems_the_last_use(
    committed: tuple[Settings, Sessions], same_user: bool
) -> None:
    settings, factory = committed
    people = [person(factory, name) for name in ("alice", "bob")]
    dana = person(factory, "dana", is_superuser=True)
    with factory.begin() as session:
        code = gift(session, dana, settings)

    def take(who: User) -> Any:
        def run() -> Any:
            with factory.begin() as session:
                return redeem(session, who, code, settings)

        return run

    results = race(take(people[0]), take(people[0 if same_user else 1]))
    assert {type(result) for result in results} == {Decimal, GiftRefused}
    with factory.begin() as session:
        assert sum(balance(session, who) for who in people) == 25
    assert_sound(factory)

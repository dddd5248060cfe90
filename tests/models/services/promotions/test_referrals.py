"""Referral bonus: one for each referred user, pending while the purchase can be refunded, deducted if it is."""

import uuid
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.audit import AuditAction
from models.config.settings import Settings
from models.database import Sessions
from models.ledger import AccountKind
from models.outages import Outage
from models.referrals import ReferralBonus
from models.services.accounts import deletion, users
from models.services.actor import PLATFORM, Actor
from models.services.errors import InvalidInput
from models.services.gateway import sessions
from models.services.ledger import adjustments, transfers
from models.services.ledger import verification as ledger_verification
from models.services.promotions import bonus_corrections, gift_codes, referrals
from models.services.tokens import bundles, extension, revocation
from models.users import User
from tests.conftest import PASSWORD, Clock, some_id
from tests.factories import Crash, actions, assert_sound, balance, buy, crash_after, engine_of, person, race
from tests.models.services.payments.test_reversals import paid, said
from tests.models.services.tokens.test_bundles_and_coupons import bundle_named


def referred_by(session: Session, referrer: User, name: str = "frank", balance: str = "500") -> User:
    """A user registered with a referral code, with money."""
    facts = {"email": f"{name}@example.test", "username": name, "password": PASSWORD, "actor": PLATFORM}
    who = users.register(session, **facts, referral_code=referrer.referral_code.lower())  # type: ignore[arg-type]
    if Decimal(balance):
        adjustments.adjust(session, who, amount=Decimal(balance), reason="test money", actor=PLATFORM)
    return who


def held(session: Session, who: User) -> Decimal:
    return transfers.personal_account(session, who.id, AccountKind.HELD).balance


def sound(session: Session) -> list[str]:
    session.flush()
    return [rule for rule in ledger_verification.RULES if ledger_verification.failed_checks(session, rule)]


def use(session: Session, token: AccessToken, settings: Settings) -> None:
    sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
    session.flush()


def vest(session: Session) -> int:
    session.flush()
    return sum(referrals.vest(session, bonus_id) for bonus_id in referrals.due(session))


def restore(session: Session) -> int:
    session.flush()
    found = bonus_corrections.due_to_restore(session)
    return sum(bonus_corrections.restore(session, bonus_id) for bonus_id in found)


@pytest.fixture
def frank(session: Session, charlie: User) -> User:
    """A user referred by charlie."""
    return referred_by(session, charlie)


def test_the_first_large_purchase_earns_ten_percent_that_are_pending_until_the_token_has_ended(
    *, session: Session, charlie: User, frank: User, settings: Settings, time: Clock
) -> None:
    buy(session, frank, settings, hours=24)
    assert held(session, charlie) == 0
    token = buy(session, frank, settings, hours=168)
    assert (held(session, charlie), balance(session, charlie)) == (10, 0)
    buy(session, frank, settings, hours=168)
    assert held(session, charlie) == 10
    assert vest(session) == 0
    use(session, token, settings)
    time.advance(days=7, minutes=59)
    assert vest(session) == 0
    time.advance(minutes=1)
    assert (vest(session), vest(session)) == (1, 0)
    assert (held(session, charlie), balance(session, charlie)) == (0, 10)
    assert actions(session, charlie)[-2:] == [AuditAction.BONUS_EARNED, AuditAction.BONUS_VESTED]
    found = referrals.totals(session, charlie)
    assert (found.invited, found.qualified, found.held, found.earned) == (1, 1, 0, 10)


def test_no_bonus_is_kept_for_refunded_money(
    *, session: Session, charlie: User, frank: User, settings: Settings, time: Clock
) -> None:
    token = buy(session, frank, settings, hours=168)
    use(session, token, settings)
    time.advance(days=7 / 3)
    _, refund = revocation.revoke(session, frank, token.id, settings=settings, actor=PLATFORM)
    assert refund == Decimal("66.66")
    assert held(session, charlie) == Decimal("3.33")
    assert vest(session) == 1
    assert balance(session, charlie) == Decimal("3.33")


def test_a_bundles_bonus_is_deducted_token_by_token(
    *, session: Session, charlie: User, frank: User, settings: Settings
) -> None:
    facts = {"purchase_id": uuid.uuid4(), "settings": settings, "actor": Actor(frank.id)}
    _, made = bundles.purchase(session, frank, bundle_named(session, "Pro").id, **facts)  # type: ignore[arg-type]
    assert held(session, charlie) == Decimal("15.30")
    for token, _ in made[:-1]:
        revocation.revoke(session, frank, token.id, settings=settings, actor=PLATFORM)
        assert vest(session) == 0
    assert held(session, charlie) == Decimal("1.53")
    revocation.revoke(session, frank, made[-1][0].id, settings=settings, actor=PLATFORM)
    assert (vest(session), held(session, charlie), balance(session, charlie)) == (1, 0, 0)


def test_a_token_revoked_without_refund_counts_as_used_up(
    session: Session, charlie: User, frank: User, settings: Settings
) -> None:
    token = buy(session, frank, settings, hours=168)
    revocation.force_revoke(session, token.id, reason="shared in a forum", actor=PLATFORM)
    assert (vest(session), balance(session, charlie)) == (1, 10)


def test_a_token_with_a_possible_outage_credit_has_not_ended(
    *, session: Session, charlie: User, frank: User, settings: Settings, time: Clock
) -> None:
    token = buy(session, frank, settings, hours=168)
    use(session, token, settings)
    time.advance(days=6, hours=23)
    outage = Outage(opened_at=time(), last_failed_at=time())
    session.add(outage)
    time.advance(days=1)
    assert vest(session) == 0
    outage.closed_at = outage.credited_at = time()
    assert vest(session) == 1


def test_a_bonus_stays_pending_while_its_buyer_is_in_debt(
    *, session: Session, charlie: User, settings: Settings
) -> None:
    frank = referred_by(session, charlie, balance="0")
    payment = paid(session, frank, settings, "100")
    token = buy(session, frank, settings, hours=168)
    said(session, payment, "disputed", "1000", refund_id="d-1")
    revocation.force_revoke(session, token.id, reason="fraud", actor=PLATFORM)
    assert (vest(session), held(session, charlie), balance(session, charlie)) == (0, 0, 0)
    paid(session, frank, settings, "100")
    assert (restore(session), vest(session), balance(session, charlie)) == (1, 1, 10)


def test_only_an_existing_code_is_accepted_and_nobody_refers_themselves(session: Session, charlie: User) -> None:
    facts = {"email": "g@example.test", "username": "grace", "password": PASSWORD, "actor": PLATFORM}
    for code in ("NOBODYHASIT0", "x", "\0"):
        with pytest.raises(InvalidInput):
            users.register(session, **facts, referral_code=code)  # type: ignore[arg-type]
    charlie.is_active = False
    session.flush()
    with pytest.raises(InvalidInput):
        users.register(session, **facts, referral_code=charlie.referral_code)  # type: ignore[arg-type]


def test_referred_users_are_listed_with_their_bonus(
    session: Session, charlie: User, frank: User, settings: Settings
) -> None:
    referred_by(session, charlie, "grace")
    buy(session, frank, settings, hours=168)
    page = referrals.list_referred_users(session, charlie, limit=10, offset=0)
    found = {who.username: bonus.amount if bonus else None for who, bonus in page.items}
    assert found == {"frank": 10, "grace": None}


def test_two_large_purchases_at_the_same_instant_earn_one_bonus(committed: tuple[Settings, Sessions]) -> None:
    settings, factory = committed
    charlie = person(factory, "charlie")
    with factory.begin() as session:
        frank = referred_by(session, charlie)

    def purchase() -> Any:
        with factory.begin() as session:
            return buy(session, frank, settings, hours=168)

    results = race(purchase, purchase)
    assert {type(result) for result in results} == {AccessToken}
    with factory.begin() as session:
        assert held(session, charlie) == 10
    assert_sound(factory)


def test_vesting_refunding_and_buying_at_the_same_instant_never_deadlock(committed: tuple[Settings, Sessions]) -> None:
    settings, factory = committed
    charlie = person(factory, "charlie", balance="500")
    for number in range(4):
        with factory.begin() as session:
            frank = referred_by(session, charlie, f"frank{number}")
            sold = buy(session, frank, settings, hours=168)
            grace = referred_by(session, charlie, f"grace{number}")
            other = buy(session, grace, settings, hours=168)
            revocation.force_revoke(session, other.id, reason="over", actor=PLATFORM)
            bonus_id = session.scalars(select(ReferralBonus.id).where(ReferralBonus.referred_id == grace.id)).one()

        def refund(frank: User = frank, sold: AccessToken = sold) -> Any:
            with factory.begin() as session:
                return revocation.revoke(session, frank, sold.id, settings=settings, actor=PLATFORM)[1]

        def pay_out(bonus_id: uuid.UUID = bonus_id) -> Any:
            with factory.begin() as session:
                return referrals.vest(session, bonus_id)

        def purchase() -> Any:
            with factory.begin() as session:
                return buy(session, charlie, settings, hours=1)

        refunded, vested, bought = race(refund, pay_out, purchase)
        assert (refunded, vested) == (100, True)
        assert isinstance(bought, AccessToken)
    assert_sound(factory)


def test_a_crash_between_any_two_statements_books_purchase_and_bonus_or_neither(
    committed: tuple[Settings, Sessions],
) -> None:
    settings, factory = committed
    charlie = person(factory, "charlie")
    with factory.begin() as session:
        frank = referred_by(session, charlie)
    for statements in range(1, 60):
        try:
            with crash_after(engine_of(factory), statements), factory.begin() as session:
                buy(session, frank, settings, hours=168)
        except Crash:
            with factory.begin() as session:
                assert (balance(session, frank), held(session, charlie)) == (500, 0)
        else:
            break
    assert statements > 10
    with factory.begin() as session:
        assert (balance(session, frank), held(session, charlie)) == (400, 10)
    assert_sound(factory)


# A bonus is never backed by reversed money, whatever the order of payments, reversals and deletions.


def test_37_a_chargeback_reverses_a_bonus_that_was_already_credited(
    *, session: Session, charlie: User, settings: Settings
) -> None:
    frank = referred_by(session, charlie, balance="0")
    payment = paid(session, frank, settings, "100")
    token = buy(session, frank, settings, hours=168)
    revocation.force_revoke(session, token.id, reason="over", actor=PLATFORM)
    assert (vest(session), balance(session, charlie)) == (1, 10)
    adjustments.adjust(session, charlie, amount=Decimal(-4), reason="spent", actor=PLATFORM)
    said(session, payment, "disputed", "1000", refund_id="d-1")
    assert (balance(session, charlie), transfers.debt_of(session, charlie.id)) == (0, 4)
    assert referrals.totals(session, charlie).earned == 0
    assert (restore(session), sound(session)) == (0, [])
    said(session, payment, "dispute_won", "1000", refund_id="d-1")
    assert (restore(session), restore(session)) == (1, 0)
    assert (balance(session, charlie), transfers.debt_of(session, charlie.id)) == (6, 0)
    assert sound(session) == []


def test_a_refund_at_the_provider_deducts_its_part_of_the_bonus(
    *, session: Session, charlie: User, settings: Settings
) -> None:
    frank = referred_by(session, charlie, balance="0")
    payment = paid(session, frank, settings, "150")
    buy(session, frank, settings, hours=168)
    said(session, payment, "refunded", "500", refund_id="r-1")
    assert held(session, charlie) == 10
    said(session, payment, "refunded", "250", refund_id="r-2")
    assert (transfers.debt_of(session, frank.id), held(session, charlie)) == (25, 5)
    assert sound(session) == []


def test_deleting_the_account_does_not_pay_out_a_bonus(
    *, session: Session, charlie: User, settings: Settings, time: Clock
) -> None:
    frank = referred_by(session, charlie, balance="0")
    payment = paid(session, frank, settings, "100")
    buy(session, frank, settings, hours=168)
    deletion.delete_account(session, frank, password=PASSWORD, code=None, settings=settings, actor=PLATFORM)
    assert (vest(session), held(session, charlie), balance(session, charlie)) == (0, 0, 0)
    said(session, payment, "disputed", "1000", refund_id="d-1")
    time.advance(days=30)
    assert (vest(session), restore(session), balance(session, charlie)) == (0, 0, 0)
    assert (transfers.debt_of(session, charlie.id), sound(session)) == (0, [])


def test_a_bonus_for_a_deleted_referrer_lapses(
    *, session: Session, charlie: User, frank: User, settings: Settings
) -> None:
    buy(session, frank, settings, hours=168)
    deletion.delete_account(session, charlie, password=PASSWORD, code=None, settings=settings, actor=PLATFORM)
    assert (held(session, charlie), balance(session, charlie), vest(session)) == (0, 0, 0)
    grace = referred_by(session, frank, "grace")
    frank.deleted_at = frank.created_at
    session.flush()
    buy(session, grace, settings, hours=168)
    assert held(session, frank) == 0
    assert sound(session) == []


def test_a_gift_earns_no_bonus_however_often_it_is_spent_and_refunded(
    *, session: Session, charlie: User, settings: Settings
) -> None:
    frank = referred_by(session, charlie, balance="0")
    facts = {"valid_until": None, "note": "test", "settings": settings, "actor": Actor(charlie.id)}
    [code] = gift_codes.create(session, amount=Decimal(100), count=1, uses_each=1, **facts)  # type: ignore[arg-type]
    gift_codes.redeem(session, frank, code, settings=settings, actor=PLATFORM)
    for _ in range(2):
        token = buy(session, frank, settings, hours=168)
        revocation.revoke(session, frank, token.id, settings=settings, actor=PLATFORM)
    assert held(session, charlie) == 0
    paid(session, frank, settings, "99.99")
    buy(session, frank, settings, hours=168)
    assert held(session, charlie) == 0
    # The gift is spent by now; the rest is their own money.
    paid(session, frank, settings, "0.01")
    buy(session, frank, settings, hours=168)
    assert held(session, charlie) == 10


def test_own_money_beside_a_gift_earns_the_bonus(*, session: Session, charlie: User, settings: Settings) -> None:
    frank = referred_by(session, charlie, balance="0")
    facts = {"valid_until": None, "note": "test", "settings": settings, "actor": Actor(charlie.id)}
    [code] = gift_codes.create(session, amount=Decimal(200), count=1, uses_each=1, **facts)  # type: ignore[arg-type]
    gift_codes.redeem(session, frank, code, settings=settings, actor=PLATFORM)
    paid(session, frank, settings, "100")
    token = buy(session, frank, settings, hours=720)
    assert held(session, charlie) == 10
    use(session, token, settings)
    revocation.force_revoke(session, token.id, reason="over", actor=PLATFORM)
    assert (vest(session), balance(session, charlie), sound(session)) == (1, 10, [])


def test_a_bonus_vests_as_the_time_of_its_purchase_is_used_up_though_the_token_is_renewed(
    *, session: Session, charlie: User, frank: User, settings: Settings, time: Clock
) -> None:
    token = buy(session, frank, settings, hours=168)
    use(session, token, settings)
    facts = {"hours": 168, "settings": settings, "actor": PLATFORM}
    extension.extend(session, frank, token.id, key=some_id(), **facts)  # type: ignore[arg-type]
    time.advance(days=7, minutes=59)
    assert vest(session) == 0
    time.advance(minutes=1)
    assert (vest(session), balance(session, charlie)) == (1, 10)
    _, refund = revocation.revoke(session, frank, token.id, settings=settings, actor=PLATFORM)
    assert (refund, balance(session, charlie), sound(session)) == (Decimal("99.40"), 10, [])


def test_a_refund_returns_the_later_money_first(
    *, session: Session, charlie: User, frank: User, settings: Settings, time: Clock
) -> None:
    token = buy(session, frank, settings, hours=168)
    use(session, token, settings)
    facts = {"hours": 168, "key": some_id(), "settings": settings, "actor": PLATFORM}
    extension.extend(session, frank, token.id, **facts)  # type: ignore[arg-type]
    time.advance(hours=84)
    _, refund = revocation.revoke(session, frank, token.id, settings=settings, actor=PLATFORM)
    assert (refund, held(session, charlie)) == (150, 5)
    assert (vest(session), balance(session, charlie), sound(session)) == (1, 5, [])


def test_a_chargeback_vesting_and_a_payment_of_the_referrer_at_the_same_instant_never_deadlock(
    committed: tuple[Settings, Sessions],
) -> None:
    settings, factory = committed
    charlie = person(factory, "charlie")
    for number in range(4):
        with factory.begin() as session:
            frank = referred_by(session, charlie, f"frank{number}", balance="0")
            payment = paid(session, frank, settings, "100")
            token = buy(session, frank, settings, hours=168)
            revocation.force_revoke(session, token.id, reason="over", actor=PLATFORM)
            bonus_id = session.scalars(select(ReferralBonus.id).where(ReferralBonus.referred_id == frank.id)).one()

        def dispute(payment: Any = payment) -> Any:
            with factory.begin() as session:
                return said(session, payment, "disputed", "1000")

        def pay_out(bonus_id: uuid.UUID = bonus_id) -> Any:
            with factory.begin() as session:
                return referrals.vest(session, bonus_id)

        def top_up() -> Any:
            with factory.begin() as session:
                return paid(session, charlie, settings, "10")

        disputed, vested, topped = race(dispute, pay_out, top_up)
        assert (disputed, type(vested), type(topped).__name__) == ("disputed", bool, "Payment")
    assert_sound(factory)
    with factory.begin() as session:
        assert held(session, charlie) == 0
        assert balance(session, charlie) - transfers.debt_of(session, charlie.id) == 40

"""Attacks on bundles, bonuses and jobs, on a real database with real commits.

docs/spec/invariants.md#4-refunds-within-the-price
docs/spec/invariants.md#8-referral-bonus-paid-once
docs/spec/invariants.md#26-repeated-jobs
"""

import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from models.config.settings import Settings
from models.database import Sessions
from models.outages import Outage
from models.payments import PaymentReversal
from models.referrals import ReferralBonus
from models.services.actor import PLATFORM, Actor
from models.services.gateway import sessions
from models.services.payments import refunds
from models.services.promotions import referrals
from models.services.tokens import bundles, outage_credit, renewal, revocation
from tests.conftest import Clock
from tests.factories import Crash, assert_sound, balance, buy, crash_after, engine_of, person, race
from tests.models.services.payments.test_reversals import paid
from tests.models.services.promotions.test_referrals import held, referred_by
from tests.models.services.tokens.test_bundles_and_coupons import bundle_named

Shop = tuple[Settings, Sessions]


@pytest.mark.parametrize("name", ["Starter", "Pro", "Certificates"])
def test_4_buying_a_bundle_and_revoking_its_tokens_never_returns_more_than_was_paid(
    committed: Shop, time: Clock, name: str
) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="200")
    with factory.begin() as session:
        facts = {"purchase_id": uuid.uuid4(), "settings": settings, "actor": Actor(alice.id)}
        _, made = bundles.purchase(session, alice, bundle_named(session, name).id, **facts)  # type: ignore[arg-type]
        sessions.start_session(session, made[0][0].id, device=None, rules=settings.sessions, actor=PLATFORM)
    time.advance(seconds=1)

    def revoke(token_id: uuid.UUID) -> Callable[[], Any]:
        def run() -> Any:
            with factory.begin() as session:
                return revocation.revoke(session, alice, token_id, settings=settings, actor=PLATFORM)[1]

        return run

    # Every token twice at the same instant.
    for token, _ in made:
        race(revoke(token.id), revoke(token.id))
    with factory.begin() as session:
        assert Decimal("199.99") <= balance(session, alice) < 200
    assert_sound(factory)


def test_8_a_bonus_is_paid_once_and_not_kept_on_refunded_money(committed: Shop) -> None:
    settings, factory = committed
    charlie = person(factory, "charlie")
    with factory.begin() as session:
        frank = referred_by(session, charlie)
        bought = [buy(session, frank, settings, hours=168) for _ in range(3)]
    with factory.begin() as session:
        assert held(session, charlie) == 10
        for token in bought:
            revocation.revoke(session, frank, token.id, settings=settings, actor=PLATFORM)
        bonus_id = session.scalars(select(ReferralBonus.id)).one()

    def vest() -> bool:
        with factory.begin() as session:
            return referrals.vest(session, bonus_id)

    assert sorted(race(vest, vest)) == [False, True]
    with factory.begin() as session:
        assert (held(session, charlie), balance(session, charlie), balance(session, frank)) == (0, 0, 500)
        # A purchase after that is not the first one any more.
        buy(session, frank, settings, hours=168)
        assert held(session, charlie) == 0
    assert_sound(factory)


def test_8_a_user_cannot_refer_themselves(committed: Shop) -> None:
    alice = person(committed[1], "alice")
    with pytest.raises(IntegrityError, match="nobody_refers_himself"), committed[1].begin() as session:
        session.execute(text("UPDATE users SET referrer_id = id WHERE id = :id"), {"id": alice.id})


@pytest.fixture
def due(committed: Shop, time: Clock) -> dict[str, Callable[[Any], Any]]:
    """Four jobs with one due item each, by name."""
    settings, factory = committed
    alice, charlie, dana = person(factory, "alice", balance="100"), person(factory, "charlie"), person(factory, "dana")
    with factory.begin() as session:
        payment = paid(session, dana, settings)
        frank = referred_by(session, charlie)
        ended = buy(session, frank, settings, hours=168)
        token = buy(session, alice, settings)
        sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
        renewal.set_auto_renew(session, alice, token.id, on=True, settings=settings, actor=PLATFORM)
    time.advance(hours=23, minutes=20)
    with factory.begin() as session:
        revocation.force_revoke(session, ended.id, reason="over", actor=PLATFORM)
        bonus_id = session.scalars(select(ReferralBonus.id)).one()
        facts = {"amount_rub": Decimal(100), "reason": "agreed", "key": uuid.uuid4(), "actor": Actor(dana.id)}
        reversal = refunds.request(session, payment.id, **facts)  # type: ignore[arg-type]
        start = time()
        time.advance(minutes=38)
        outage = Outage(opened_at=start, last_failed_at=time(), closed_at=time())
        session.add(outage)
    # The outage is not credited yet, and by default a renewal waits for that.
    at_once = settings.renewal.model_copy(update={"in_outage": "renew"})
    return {
        "renew": lambda session: renewal.renew(session, token.id, settings.model_copy(update={"renewal": at_once})),
        "credit": lambda session: outage_credit.credit(session, outage.id, settings, limit=10),
        "vest": lambda session: referrals.vest(session, bonus_id),
        "send": lambda session: refunds.send(session, reversal.id, settings),
    }


def state(factory: Sessions) -> list[Any]:
    """Return everything that these jobs may change."""
    with factory.begin() as session:
        queries = (
            "SELECT u.username, a.kind, a.balance FROM accounts a JOIN users u ON u.id = a.user_id ORDER BY 1, 2",
            "SELECT price_paid, paid_seconds, credited_seconds FROM access_tokens ORDER BY 1, 2",
            "SELECT kind, count(*) FROM outbox_mails GROUP BY kind ORDER BY 1",
            "SELECT ended_at IS NULL, returned FROM referral_bonuses",
        )
        rows = [[tuple(row) for row in session.execute(text(query))] for query in queries]
        return [*rows, session.scalars(select(PaymentReversal.state)).all()]


@pytest.mark.parametrize("job", ["renew", "credit", "vest", "send"])
def test_26_a_job_that_crashes_anywhere_or_runs_twice_has_the_effect_of_one_run(
    committed: Shop, due: dict[str, Callable[[Any], Any]], job: str
) -> None:
    _settings, factory = committed
    before = state(factory)
    for statements in range(1, 60):
        try:
            with crash_after(engine_of(factory), statements), factory.begin() as session:
                due[job](session)
        except Crash:
            assert state(factory) == before
        else:
            break
    assert statements > 4
    after = state(factory)
    assert after != before
    for _ in range(2):
        with factory.begin() as session:
            due[job](session)
        assert state(factory) == after
    assert_sound(factory)

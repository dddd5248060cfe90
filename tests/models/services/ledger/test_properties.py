"""Random histories of buyers and admins: ledger verification passes, and no more is refunded than was paid."""

import uuid
from contextlib import nullcontext, suppress
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken, TokenState
from models.bundles import Bundle
from models.config.settings import Settings
from models.config.shop import Refund
from models.database import Sessions
from models.payments import Payment, PaymentReversal, ReversalState
from models.services.accounts import deletion, email_flows, former_accounts
from models.services.actor import PLATFORM, Actor
from models.services.errors import DomainError
from models.services.gateway import sessions
from models.services.ledger import adjustments, transfers
from models.services.ledger import verification as ledger_verification
from models.services.payments import (
    callbacks,
    manual_booking,
    manual_review,
    refunds,
    settlement,
    status_checks,
    topups,
)
from models.services.payments.providers import mock
from models.services.payments.providers.base import PARTIAL_OUTCOMES, Event
from models.services.promotions import gift_codes, referrals
from models.services.tokens import bundles, debt_pauses, extension, renewal, revocation
from models.services.tokens import pause as token_pause
from models.services.tokens import purchase as token_purchase
from models.services.tokens import queries as token_queries
from models.users import User
from tests.conftest import PASSWORD, Clock, make_user
from tests.factories import Crash, crash_after, engine_of, top_up

CENTS = st.integers(min_value=-20_000, max_value=40_000).map(lambda cents: Decimal(cents) / 100)
PARTIAL_OUTCOMES_IN_ORDER = sorted(PARTIAL_OUTCOMES)
STEPS = st.one_of(
    st.tuples(st.just("adjust"), CENTS),
    st.tuples(st.just("top up"), CENTS, st.sampled_from(["succeeded", "canceled", None])),
    st.tuples(st.just("settle again")),
    st.tuples(st.just("buy"), st.sampled_from([1, 12, 24, 168, 720])),
    st.tuples(st.just("buy bundle")),
    st.tuples(st.just("redeem"), st.booleans()),
    st.tuples(st.just("vest")),
    st.tuples(st.just("use"), st.integers(0, 5)),
    st.tuples(st.just("pause or resume"), st.integers(0, 5)),
    st.tuples(st.just("extend"), st.integers(0, 5), st.sampled_from([1, 12, 24])),
    st.tuples(st.just("credit"), st.integers(0, 5), st.integers(1, 90_000)),
    st.tuples(st.just("give back"), st.integers(0, 3), CENTS),
    st.tuples(st.just("provider says"), st.integers(0, 3), CENTS, st.sampled_from(PARTIAL_OUTCOMES_IN_ORDER)),
    st.tuples(st.just("charge back by hand"), st.integers(0, 3), CENTS),
    st.tuples(st.just("end reversal by hand"), st.integers(0, 3), st.sampled_from(list(ReversalState))),
    st.tuples(st.just("book event by hand"), st.integers(0, 3)),
    st.tuples(st.just("withdraw payment"), st.integers(0, 3)),
    st.tuples(st.just("check status")),
    st.tuples(st.just("carry debts")),
    st.tuples(st.just("revoke"), st.integers(0, 5)),
    st.tuples(st.just("renew")),
    st.tuples(st.just("pause for debt")),
    st.tuples(st.just("leave and come back")),
    st.tuples(st.just("wait"), st.integers(1, 400_000)),
    # Beyond the longest pause.
    st.tuples(st.just("wait"), st.just(31 * 86400)),
)
# The ledger is verified after each of these, to name the step that breaks it, and after the whole history.
VERIFIED = {"charge back by hand", "end reversal by hand", "book event by hand", "withdraw payment", "check status"}
# After so many statements the process dies, if it gets that far.
CRASHES = st.one_of(st.none(), st.none(), st.integers(1, 25))
NAMES = count()


class History:
    """One buyer's life; each step is a transaction of its own, as each request is."""

    def __init__(self, factory: Sessions, settings: Settings, time: Clock) -> None:
        self._factory, self._settings, self._time = factory, settings, time
        self._comes: User | None = None
        with factory.begin() as session:
            referrer = make_user(session, f"charlie{next(NAMES)}")
            self.owner = make_user(session, f"alice{next(NAMES)}")
            self.owner.referrer_id = referrer.id
            facts = {"valid_until": None, "note": "history", "settings": settings, "actor": Actor(referrer.id)}
            [self.gift] = gift_codes.create(session, amount=Decimal("33.33"), count=1, uses_each=1, **facts)

    def step(self, what: str, *facts: Any, crash_at: int | None = None) -> None:
        """Do one thing; that the rules refuse some is part of life, and so is a crash."""
        if what == "wait":
            self._time.advance(milliseconds=1000 * facts[0] + 1)
            return
        crash = crash_after(engine_of(self._factory), crash_at) if crash_at else nullcontext()
        with suppress(DomainError, Crash), crash, self._factory.begin() as session:
            getattr(self, f"_{what.replace(' ', '_')}")(session, *facts)
        # Only what was committed has happened.
        with self._factory.begin() as session:
            if self._comes is not None and session.get(User, self._comes.id) is not None:
                self.owner = session.get_one(User, self._comes.id)
            self._comes = None
        if what in VERIFIED:
            with self._factory.begin() as session:
                assert ledger_verification.verify(session).faults == {}, what

    def _adjust(self, session: Session, amount: Decimal) -> None:
        adjustments.adjust(session, self.owner, amount=amount, reason="history", actor=PLATFORM)

    def _top_up(self, session: Session, amount: Decimal, outcome: Any) -> None:
        payment = top_up(session, self.owner, self._settings, str(amount))
        if outcome:
            mock.decide(session, mock.checkout_of(session, _checkout(payment)).id, outcome)
            settlement.query_provider(session, payment.id, self._settings)

    def _settle_again(self, session: Session) -> None:
        for payment_id in session.scalars(select(Payment.id).where(Payment.user_id == self.owner.id)):
            settlement.query_provider(session, payment_id, self._settings)
        topups.expire(session)

    def _buy(self, session: Session, hours: int) -> None:
        facts = {"scope": "full", "name": "", "settings": self._settings, "actor": Actor(self.owner.id)}
        token_purchase.purchase(session, self.owner, hours=hours, **facts)

    def _buy_bundle(self, session: Session) -> None:
        starter = session.scalars(select(Bundle.id).where(Bundle.name == "Starter")).one()
        facts = {"purchase_id": uuid.uuid4(), "settings": self._settings, "actor": Actor(self.owner.id)}
        bundles.purchase(session, self.owner, starter, **facts)

    def _redeem(self, session: Session, is_right: bool) -> None:
        code = self.gift if is_right else "AAAA-AAAA-AAAA-AAAA"
        gift_codes.redeem(session, self.owner, code, settings=self._settings, actor=Actor(self.owner.id))

    def _vest(self, session: Session) -> None:
        for bonus_id in referrals.due(session):
            referrals.vest(session, bonus_id)

    def _renew(self, session: Session) -> None:
        for token in session.scalars(select(AccessToken).where(AccessToken.user_id == self.owner.id)).all():
            with suppress(DomainError):
                facts = {"on": True, "settings": self._settings, "actor": PLATFORM}
                renewal.set_auto_renew(session, self.owner, token.id, **facts)
        for token_id in renewal.due(session, self._settings):
            renewal.renew(session, token_id, self._settings)

    def _pause_for_debt(self, session: Session) -> None:
        for token_id in debt_pauses.due(session, self._settings):
            debt_pauses.settle(session, token_id, self._settings)

    def _leave_and_come_back(self, session: Session) -> None:
        owner = session.get_one(User, self.owner.id)
        email, referrer_id = owner.email, owner.referrer_id
        facts = {"settings": self._settings, "actor": PLATFORM}
        deletion.delete_account(session, owner, password=PASSWORD, code=None, **facts)
        again = email_flows.register(session, email=email, username=f"a{next(NAMES)}", password=PASSWORD, **facts)
        again.referrer_id = referrer_id
        self._comes = again

    def _use(self, session: Session, which: int) -> None:
        if token := self._token(session, which):
            sessions.start_session(session, token.id, device=None, rules=self._settings.sessions, actor=PLATFORM)

    def _pause_or_resume(self, session: Session, which: int) -> None:
        if token := self._token(session, which):
            act = token_pause.resume if token.state(self._time()) is TokenState.PAUSED else token_pause.pause
            act(session, self.owner, token.id, settings=self._settings, actor=PLATFORM)

    def _extend(self, session: Session, which: int, hours: int) -> None:
        if token := self._token(session, which):
            facts = {"hours": hours, "key": uuid.uuid4(), "settings": self._settings, "actor": PLATFORM}
            extension.extend(session, self.owner, token.id, **facts)

    def _give_back(self, session: Session, which: int, rub: Decimal) -> None:
        if payment := self._payment(session, which):
            facts = {"reason": "history", "key": uuid.uuid4(), "actor": PLATFORM}
            reversal = refunds.request(session, payment.id, amount_rub=rub, **facts)
            refunds.send(session, reversal.id, self._settings)

    def _provider_says(self, session: Session, which: int, rub: Decimal, outcome: Any) -> None:
        payment = self._payment(session, which)
        if payment is not None:
            facts = {"event_id": str(uuid.uuid4()), "currency": "RUB", "body": {}, "refund_id": f"{rub.copy_abs()}"}
            said = Event(provider_payment_id=str(payment.provider_payment_id), outcome=outcome, amount_rub=rub, **facts)
            stored = callbacks.store_event(session, "mock", said)
            assert stored is not None
            settlement.settle(session, stored)

    def _charge_back_by_hand(self, session: Session, which: int, rub: Decimal) -> None:
        if payment := self._payment(session, which):
            facts = {"reference": str(uuid.uuid4()), "reason": "history", "key": uuid.uuid4(), "actor": PLATFORM}
            manual_booking.book_chargeback(session, payment.id, amount_rub=rub, **facts)

    def _end_reversal_by_hand(self, session: Session, which: int, state: ReversalState) -> None:
        query = select(PaymentReversal).join(Payment).where(Payment.user_id.in_(former_accounts.lineage(self.owner.id)))
        query = query.order_by(PaymentReversal.created_at).offset(which).limit(1)
        if reversal := session.scalars(query).one_or_none():
            facts = {"state": state, "reason": "history", "actor": PLATFORM}
            manual_booking.end(session, reversal.payment_id, reversal.id, **facts)

    def _book_event_by_hand(self, session: Session, which: int) -> None:
        for event in manual_review.list_reviews().page(session, limit=1, offset=which).items:
            manual_booking.book_event(session, event.id, note="history", actor=Actor(self.owner.id))

    def _withdraw_payment(self, session: Session, which: int) -> None:
        if payment := self._payment(session, which):
            actor = Actor(self.owner.id)
            topups.withdraw(session, self.owner, payment.id, settings=self._settings, actor=actor)

    def _check_status(self, session: Session) -> None:
        for payment_id in status_checks.due(session):
            settlement.query_provider(session, payment_id, self._settings)

    def _carry_debts(self, session: Session) -> None:
        for user_id in former_accounts.due_to_carry(session):
            former_accounts.carry_debt(session, user_id)

    def _credit(self, session: Session, which: int, seconds: int) -> None:
        token = self._token(session, which)
        if token is not None and token.activated_at is not None:
            token.credited_seconds += seconds

    def _revoke(self, session: Session, which: int) -> None:
        if token := self._token(session, which):
            revocation.revoke(session, self.owner, token.id, settings=self._settings, actor=Actor(self.owner.id))

    def _token(self, session: Session, which: int) -> AccessToken | None:
        query = select(AccessToken).where(AccessToken.user_id == self.owner.id).order_by(AccessToken.created_at)
        return session.scalars(query.offset(which).limit(1)).one_or_none()

    def _payment(self, session: Session, which: int) -> Payment | None:
        """Return one of the buyer's payments, those of deleted accounts included."""
        query = select(Payment).where(Payment.user_id.in_(former_accounts.lineage(self.owner.id)))
        query = query.order_by(Payment.created_at)
        return session.scalars(query.offset(which).limit(1)).one_or_none()


def _checkout(payment: Payment) -> Any:
    return type(payment.id)(payment.provider_payment_id)


@pytest.fixture(params=["prorata", "list"])
def shop(request: Any, committed: tuple[Settings, Sessions], time: Clock) -> tuple[Settings, Sessions, Clock]:
    settings, factory = committed
    return settings.model_copy(update={"refund": Refund(used_time_rate=request.param)}), factory, time


@hypothesis_settings(
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.tuples(STEPS, CRASHES), min_size=3, max_size=20))
def test_no_history_of_payments_purchases_refunds_disputes_and_crashes_unbalances_the_ledger(
    shop: tuple[Settings, Sessions, Clock], steps: list[tuple[tuple[Any, ...], int | None]]
) -> None:
    settings, factory, time = shop
    history = History(factory, settings, time)
    history.step("adjust", Decimal(400))
    for step, crash_at in steps:
        history.step(*step, crash_at=crash_at)
    with factory.begin() as session:
        assert ledger_verification.verify(session).faults == {}
    with factory.begin() as session:
        assert transfers.wallet_of(session, history.owner.id).balance >= 0
        owner: User = session.get_one(User, history.owner.id)
        for token in token_queries.of_user(session, owner.id, limit=100, offset=0).items:
            returned = token.refund_amount or Decimal(0)
            assert 0 <= returned <= token.price_paid
            assert revocation.refund_due(token, clock.now() + timedelta(days=400), settings) <= token.price_paid
            if token.activated_at is not None and token.credited_seconds == 0 and token.paused_seconds == 0:
                assert returned < token.price_paid or token.activated_at == token.revoked_at

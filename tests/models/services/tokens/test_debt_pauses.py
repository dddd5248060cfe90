"""Pauses of tokens bought with a payment that was charged back, while the debt is open."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken, TokenState
from models.config.settings import Settings
from models.config.shop import Debt
from models.database import Sessions
from models.notification_preferences import Topic
from models.outbox import OutboxMail
from models.payments import Payment
from models.services.actor import PLATFORM, Actor
from models.services.errors import DomainError, PauseRefused, TokenUnusable
from models.services.gateway import sessions, token_lookup
from models.services.ledger import transfers
from models.services.notifications import preferences
from models.services.payments import manual_booking
from models.services.tokens import debt_pauses, revocation
from models.services.tokens import pause as token_pause
from models.users import User
from tests.conftest import Clock, make_user, some_id
from tests.factories import assert_sound, buy, person, race
from tests.models.services.payments.test_reversals import paid, said


def run(session: Session, settings: Settings) -> int:
    session.flush()
    return sum(debt_pauses.settle(session, token_id, settings) for token_id in debt_pauses.due(session, settings))


def use(session: Session, token: AccessToken, settings: Settings) -> None:
    sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
    session.flush()


@pytest.fixture
def erin(session: Session) -> User:
    return make_user(session, "erin")


def test_tokens_bought_with_charged_back_money_are_paused_until_the_debt_is_repaid(
    *, session: Session, erin: User, settings: Settings, time: Clock
) -> None:
    paid(session, erin, settings, "1")
    before = buy(session, erin, settings, hours=1)
    payment = paid(session, erin, settings, "36")
    running, fresh = buy(session, erin, settings), buy(session, erin, settings)
    for token in (before, running):
        use(session, token, settings)
    time.advance(minutes=30)
    assert run(session, settings) == 0
    said(session, payment, "disputed", "360", refund_id="d-1")
    assert run(session, settings) == 0, "paused by the transaction that books the dispute"
    states = [token.state(time()) for token in (before, running, fresh)]
    assert states == [TokenState.ACTIVE, TokenState.PAUSED, TokenState.PAUSED]
    with pytest.raises(TokenUnusable, match="paused"):
        use(session, fresh, settings)
    with pytest.raises(PauseRefused, match="debt"):
        token_pause.resume(session, erin, running.id, settings=settings, actor=PLATFORM)
    time.advance(days=60)
    paid(session, erin, settings, "36")
    assert (run(session, settings), run(session, settings)) == (2, 0)
    assert (running.state(time()), running.seconds_left(time())) == (TokenState.ACTIVE, 24 * 3600 - 1800)
    assert (fresh.state(time()), fresh.paused_seconds) == (TokenState.READY, 0)
    # None of it counts as one of the owner's pauses.
    options = token_pause.preview(session, running, settings)
    assert (options.left, options.latest_end) == (4, time() + timedelta(days=30))


def test_pausing_tokens_for_a_debt_can_be_switched_off(
    *, session: Session, erin: User, settings: Settings, time: Clock
) -> None:
    payment = paid(session, erin, settings, "18")
    token = buy(session, erin, settings)
    lenient = settings.model_copy(update={"debt": Debt(pause_tokens=False)})
    facts: dict[str, Any] = {"reference": "d-1", "reason": "the bank wrote", "key": some_id(), "actor": PLATFORM}
    manual_booking.book_chargeback(session, payment.id, amount_rub=Decimal(180), pause_tokens=False, **facts)
    assert (token.state(time()), run(session, lenient)) == (TokenState.READY, 0)
    assert (run(session, settings), run(session, lenient)) == (1, 1)
    assert token.state(time()) is TokenState.READY


def test_a_chargeback_booked_by_hand_pauses_the_tokens_and_mails_the_owner_once(
    *, session: Session, erin: User, settings: Settings, time: Clock
) -> None:
    payment = paid(session, erin, settings, "36")
    tokens = [buy(session, erin, settings), buy(session, erin, settings)]
    facts: dict[str, Any] = {"reference": "d-1", "reason": "the bank wrote", "key": some_id(), "actor": PLATFORM}
    manual_booking.book_chargeback(session, payment.id, amount_rub=Decimal(360), **facts)
    assert {token.state(time()) for token in tokens} == {TokenState.PAUSED}
    assert token_pause.preview(session, tokens[0], settings).debt == 36
    known = token_lookup.find_by_id(session, [tokens[0].id])[tokens[0].id]
    assert (known.is_paused(time()), known.is_paused_for_debt) == (True, True)
    mails = session.scalars(select(OutboxMail).where(OutboxMail.kind == "tokens_paused")).all()
    assert [(mail.user_id, mail.context["debt"]) for mail in mails] == [(erin.id, "36.00")]
    # The job's own pauses for the same reversal send no second mail.
    lenient = settings.model_copy(update={"debt": Debt(pause_tokens=False)})
    assert (run(session, lenient), run(session, settings)) == (2, 2)
    assert session.scalar(select(func.count()).where(OutboxMail.kind == "tokens_paused")) == 1


def test_an_owner_may_switch_the_mail_off(session: Session, erin: User, settings: Settings) -> None:
    preferences.set_preference(session, erin, Topic.TOKEN_PAUSED, mail=False)
    payment = paid(session, erin, settings, "18")
    buy(session, erin, settings)
    said(session, payment, "disputed", "180", refund_id="d-1")
    assert session.scalar(select(func.count()).where(OutboxMail.kind == "tokens_paused")) == 0


@pytest.mark.parametrize("rival", ["activation", "purchase", "revocation", "pause"])
def test_an_operation_at_the_same_instant_leaves_no_token_running_on_charged_back_money(
    *, committed: tuple[Settings, Sessions], rival: str
) -> None:
    settings, factory = committed
    for number in range(6):
        frank = person(factory, f"{rival}{number}", balance="0")
        with factory.begin() as session:
            payment = paid(session, frank, settings, "36")
            token = buy(session, frank, settings)
            if rival == "pause":
                use(session, token, settings)
            if rival != "purchase":
                buy(session, frank, settings)
        results = race(
            partial(_in_transaction, factory, partial(_charge_back, payment=payment)),
            partial(_in_transaction, factory, partial(_RIVALS[rival], user=frank, token=token, settings=settings)),
        )
        assert results[0] is None, results
        assert results[1] is None or isinstance(results[1], DomainError), results
        with factory.begin() as session:
            found = session.scalars(select(AccessToken).where(AccessToken.user_id == frank.id)).all()
            states = {each.state(clock.now()) for each in found}
            # A token sold in the meantime is paused as well, unless its money came back before the chargeback.
            owes = transfers.debt_of(session, frank.id) > 0
            assert states <= ({TokenState.PAUSED, TokenState.REVOKED} if owes else set(TokenState)), states
    assert_sound(factory)


def _in_transaction(factory: Sessions, call: Callable[[Session], None]) -> None:
    with factory.begin() as session:
        call(session)


def _charge_back(session: Session, *, payment: Payment) -> None:
    assert said(session, payment, "disputed", "360", refund_id=str(some_id())) == "disputed"


def _activate(session: Session, *, user: User, token: AccessToken, settings: Settings) -> None:
    sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=Actor(user.id))


def _purchase(session: Session, *, user: User, token: AccessToken, settings: Settings) -> None:
    buy(session, session.get_one(User, user.id), settings)


def _revoke(session: Session, *, user: User, token: AccessToken, settings: Settings) -> None:
    revocation.revoke(session, session.get_one(User, user.id), token.id, settings=settings, actor=Actor(user.id))


def _pause(session: Session, *, user: User, token: AccessToken, settings: Settings) -> None:
    token_pause.pause(session, session.get_one(User, user.id), token.id, settings=settings, actor=Actor(user.id))


_RIVALS: dict[str, Callable[..., None]] = {
    "activation": _activate,
    "purchase": _purchase,
    "revocation": _revoke,
    "pause": _pause,
}

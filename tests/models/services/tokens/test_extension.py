"""Extensions: paid once, for the owner only, and refunded by the same formula."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.audit import AuditAction
from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM, Actor
from models.services.errors import (
    AccountDisabled,
    DuplicateTransfer,
    InsufficientFunds,
    InvalidInput,
    NotFound,
    TokenEnded,
)
from models.services.gateway import sessions
from models.services.tokens import extension, revocation
from models.services.tokens import history as token_history
from models.services.tokens import pause as token_pause
from models.services.tokens import queries as token_queries
from models.users import User
from tests.conftest import Clock
from tests.factories import actions, assert_sound, balance, buy, person, race


def extend(
    session: Session,
    owner: User,
    token: AccessToken,
    settings: Settings,
    *,
    hours: int = 24,
    key: uuid.UUID | None = None,
) -> Decimal:
    facts = {"hours": hours, "key": key or uuid.uuid4(), "settings": settings, "actor": Actor(owner.id)}
    return extension.extend(session, owner, token.id, **facts)  # type: ignore[arg-type]


def begin(session: Session, token: AccessToken, settings: Settings) -> None:
    sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)


def test_time_and_price_grow_together_and_so_does_the_refund(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    token = buy(session, alice, settings)
    begin(session, token, settings)
    time.advance(hours=12)
    assert extend(session, alice, token, settings, hours=12) == 10
    assert (token.price_paid, token.paid_seconds) == (28, 36 * 3600)
    assert token.expires_at == time() + timedelta(hours=24)
    assert balance(session, alice) == 72
    assert revocation.refund_due(token, time(), settings) == Decimal("18.66")
    assert actions(session, alice)[-1] is AuditAction.TOKEN_EXTENDED
    line = token_history.of_token(session, token, limit=10, offset=0).items[0]
    assert (line.kind, line.seconds, line.price) == ("extended", 12 * 3600, 10)


def test_a_ready_and_a_paused_token_can_be_extended_and_an_ended_one_cannot(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    token = buy(session, alice, settings, hours=1)
    extend(session, alice, token, settings, hours=1)
    assert token.expires_at is None
    begin(session, token, settings)
    token_pause.pause(session, alice, token.id, settings=settings, actor=PLATFORM)
    extend(session, alice, token, settings, hours=1)
    assert token.seconds_left(time()) == 3 * 3600
    revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    with pytest.raises(TokenEnded):
        extend(session, alice, token, settings)


def test_extensions_need_the_owner_the_balance_and_a_duration_for_sale(
    session: Session, alice: User, bob: User, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    with pytest.raises(NotFound):
        extend(session, bob, token, settings)
    with pytest.raises(InvalidInput):
        extend(session, alice, token, settings, hours=5)
    with pytest.raises(InsufficientFunds), session.begin_nested():
        extend(session, alice, token, settings, hours=168)
    alice.is_active = False
    with pytest.raises(AccountDisabled):
        extend(session, alice, token, settings)
    assert (token.price_paid, balance(session, alice), balance(session, bob)) == (18, 82, 100)


def test_the_same_form_sent_twice_at_once_extends_once(committed: tuple[Settings, Sessions]) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        token = buy(session, alice, settings, hours=1)
    key = uuid.uuid4()

    def run() -> Decimal:
        with factory.begin() as session:
            return extend(session, alice, token, settings, hours=1, key=key)

    results = race(run, run)
    assert {type(result) for result in results} == {Decimal, DuplicateTransfer}
    with factory.begin() as session:
        assert token_queries.lock_owned(session, alice, token.id).paid_seconds == 2 * 3600
        assert balance(session, alice) == 98
    assert_sound(factory)


def test_a_concurrent_extension_and_revocation_keep_the_ledger_correct(
    committed: tuple[Settings, Sessions],
) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    for _ in range(5):
        with factory.begin() as session:
            token = buy(session, alice, settings, hours=1)

        def lengthen(token: AccessToken = token) -> Decimal:
            with factory.begin() as session:
                return extend(session, alice, token, settings, hours=1)

        def end(token: AccessToken = token) -> Decimal:
            with factory.begin() as session:
                return revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)[1]

        extended, refunded = race(lengthen, end)
        # Either the extension came first and is refunded too, or it was refused.
        assert refunded == (2 if isinstance(extended, Decimal) else 1)
    with factory.begin() as session:
        assert balance(session, alice) == 100
    assert_sound(factory)

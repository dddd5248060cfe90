"""Purchase and revocation of tokens."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken, TokenState
from models.config.settings import Settings
from models.services.accounts import roles
from models.services.actor import PLATFORM, Actor
from models.services.crypto import secrets
from models.services.errors import (
    AccountDisabled,
    DuplicateTransfer,
    InsufficientFunds,
    InvalidInput,
    NotFound,
    TokenEnded,
)
from models.services.gateway import sessions, token_lookup
from models.services.tokens import purchase as token_purchase
from models.services.tokens import queries as token_queries
from models.services.tokens import revocation
from models.users import User
from tests.conftest import Clock, make_user, some_id
from tests.factories import actions, balance, buy

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
DAY = 86400


@pytest.mark.parametrize(("hours", "price"), [(1, 1), (12, 10), (24, 18), (168, 100), (720, 300)])
def test_the_default_price_list_is_as_specified(settings: Settings, hours: int, price: int) -> None:
    assert token_purchase.price_of(settings, hours) == price


@pytest.mark.parametrize("hours", [0, -1, 2, 23, 721, 10**12])
def test_an_unlisted_duration_is_not_sold(session: Session, alice: User, settings: Settings, hours: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        buy(session, alice, settings, hours=hours)
    assert caught.value.field == "duration_hours"


def test_a_purchase_debits_the_price_and_creates_an_unused_token(
    session: Session, alice: User, settings: Settings
) -> None:
    sold, secret = token_purchase.purchase(
        session, alice, hours=24, scope="certificates_only", name=" my token ", settings=settings, actor=Actor(alice.id)
    )
    assert balance(session, alice) == 82
    assert (sold.name, sold.scope, sold.price_paid, sold.paid_seconds) == ("my token", "certificates_only", 18, 86400)
    assert (sold.state(START), sold.expires_at, sold.seconds_left(START)) == (TokenState.READY, None, None)
    assert secrets.is_genuine(settings.tokens, secret)
    assert actions(session, alice)[-1] == "token.purchased"


def test_a_form_sent_twice_buys_once(session: Session, alice: User, bob: User, settings: Settings) -> None:
    token_id = uuid.uuid4()
    buy(session, alice, settings, token_id=token_id)
    for buyer in (alice, bob):
        with pytest.raises(DuplicateTransfer), session.begin_nested():
            buy(session, buyer, settings, token_id=token_id)
    assert (balance(session, alice), balance(session, bob)) == (82, 100)


def test_a_purchase_needs_the_balance(session: Session, charlie: User, settings: Settings) -> None:
    with pytest.raises(InsufficientFunds) as caught, session.begin_nested():
        buy(session, charlie, settings)
    assert caught.value.needed == 18
    assert token_queries.of_user(session, charlie.id, limit=10, offset=0).total == 0


def test_a_disabled_user_buys_nothing(session: Session, alice: User, settings: Settings) -> None:
    roles.set_active(session, alice.id, active=False, actor=PLATFORM)
    with pytest.raises(AccountDisabled):
        buy(session, alice, settings)


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"scope": "everything"}, "scope"),
        ({"scope": ""}, "scope"),
        ({"name": "x" * 51}, "name"),
        ({"name": "nul\x00"}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "\ud800"}, "name"),
    ],
)
def test_scope_and_name_are_checked(
    session: Session, alice: User, settings: Settings, facts: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        buy(session, alice, settings, **facts)
    assert caught.value.field == field


def test_the_database_computes_the_same_expiry(session: Session, alice: User, settings: Settings) -> None:
    sold = buy(session, alice, settings)
    sold.activated_at, sold.paused_seconds, sold.credited_seconds = START, 61, 7
    session.flush()
    computed = select(AccessToken.ends_at, AccessToken.paused_until).where(AccessToken.id == sold.id)
    assert tuple(session.execute(computed).one()) == (START + timedelta(seconds=DAY + 68), None)
    assert (sold.ends_at, sold.paused_until) == (START + timedelta(seconds=DAY + 68), None)
    sold.paused_at, sold.pause_limit_seconds = START, 5
    session.flush()
    in_sql = (START + timedelta(seconds=DAY + 73), START + timedelta(seconds=5))
    assert tuple(session.execute(computed).one()) == (sold.ends_at, sold.paused_until) == in_sql


def test_a_revoked_token_has_ended_and_its_unused_time_is_refunded(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    sold = buy(session, alice, settings)
    sessions.start_session(session, sold.id, device=None, rules=settings.sessions, actor=PLATFORM)
    time.advance(hours=6)
    version = sold.version
    ended, refund = revocation.revoke(session, alice, sold.id, settings=settings, actor=Actor(alice.id))
    assert (refund, balance(session, alice)) == (Decimal("13.50"), Decimal("95.50"))
    assert (ended.state(time()), ended.refund_amount, ended.version) == (TokenState.REVOKED, refund, version + 1)
    assert actions(session, alice)[-1] == "token.revoked"


def test_another_users_token_cannot_be_revoked_or_seen(
    session: Session, alice: User, bob: User, settings: Settings
) -> None:
    sold = buy(session, alice, settings)
    for token_id in (sold.id, some_id()):
        with pytest.raises(NotFound):
            revocation.revoke(session, bob, token_id, settings=settings, actor=Actor(bob.id))
        with pytest.raises(NotFound):
            token_queries.owned(session, bob, token_id)
    assert token_queries.owned(session, alice, sold.id).revoked_at is None


def test_a_token_that_has_ended_cannot_be_revoked_again(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    revoked, expired = buy(session, alice, settings), buy(session, alice, settings, hours=1)
    revocation.revoke(session, alice, revoked.id, settings=settings, actor=PLATFORM)
    sessions.start_session(session, expired.id, device=None, rules=settings.sessions, actor=PLATFORM)
    time.advance(hours=1)
    for ended, state in ((revoked, "revoked"), (expired, "expired")):
        with pytest.raises(TokenEnded) as caught:
            revocation.revoke(session, alice, ended.id, settings=settings, actor=PLATFORM)
        assert caught.value.state == state
    assert balance(session, alice) == 99


def test_a_new_demo_token_is_free_and_ends_the_previous_one(
    session: Session, alice: User, dana: User, settings: Settings
) -> None:
    bought = buy(session, alice, settings)
    first, second = (token_purchase.issue_demo(session, dana, settings=settings, actor=PLATFORM) for _ in range(2))
    known = [token_lookup.find(session, secrets.hash_of(settings.tokens, secret)) for secret in (first, second)]
    assert [entry and entry.is_revoked for entry in known] == [True, False]
    assert bought.revoked_at is None
    assert balance(session, dana) == 0
    assert actions(session, dana)[-3:] == ["token.issued", "token.revoked", "token.issued"]


@pytest.mark.parametrize(
    ("column", "value", "constraint"),
    [
        ("price_paid", Decimal(-1), "price_not_negative"),
        ("paid_seconds", 0, "paid_seconds_positive"),
        ("paused_seconds", -1, "added_seconds_not_negative"),
        ("credited_seconds", -1, "added_seconds_not_negative"),
        ("refund_amount", Decimal(1), "revoked_with_refund"),
        ("revoked_at", START, "revoked_with_refund"),
        ("paused_at", START, "paused_with_limit"),
    ],
)
def test_the_database_refuses_inconsistent_rows(
    *, session: Session, alice: User, settings: Settings, column: str, value: object, constraint: str
) -> None:
    setattr(buy(session, alice, settings), column, value)
    with pytest.raises(IntegrityError, match=constraint):
        session.flush()


def test_the_database_refuses_a_refund_above_the_price(session: Session, alice: User, settings: Settings) -> None:
    sold = buy(session, alice, settings)
    sold.revoked_at, sold.refund_amount = START, sold.price_paid + Decimal("0.01")
    with pytest.raises(IntegrityError, match="refund_within_price"):
        session.flush()


def test_admins_find_tokens_by_prefix(session: Session, settings: Settings) -> None:
    alice = make_user(session, "alice", balance="100")
    sold = [buy(session, alice, settings, hours=1) for _ in range(3)]
    found = token_queries.search(session, prefix=f" {sold[0].prefix} ", limit=10, offset=0)
    assert [entry.id for entry in found.items] == [sold[0].id]
    assert found.items[0].user is alice
    assert token_queries.search(session, limit=10, offset=0).total == 3
    for nothing in ("%", "________", sold[0].prefix[1:] + "!", "nul\x00"):
        assert token_queries.search(session, prefix=nothing, limit=10, offset=0).total == 0

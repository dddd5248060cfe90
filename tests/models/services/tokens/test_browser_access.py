"""A ticket grants one browser access once; its cookie lasts as long as its token."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken
from models.browser_access import AccessCookie, AccessTicket
from models.config.server import Sessions as Rules
from models.config.settings import Settings
from models.database import Sessions
from models.services.accounts import roles
from models.services.actor import PLATFORM, Actor
from models.services.crypto import secrets
from models.services.crypto.secrets import Purpose
from models.services.errors import AccountDisabled, NotFound, TicketRefused, TokenUnusable
from models.services.gateway import sessions, token_lookup
from models.services.gateway.token_lookup import TokenSnapshot
from models.services.tokens import browser_access, revocation
from models.services.tokens.browser_access import BrowserLogin
from models.users import User
from tests.conftest import Clock
from tests.factories import BROWSER, actions, buy, person, race

Committed = tuple[Settings, Sessions]


@pytest.fixture
def token(session: Session, alice: User, settings: Settings, time: Clock) -> AccessToken:
    """An unused token of alice's."""
    return buy(session, alice, settings)


@pytest.fixture
def issue(session: Session, alice: User, token: AccessToken, settings: Settings) -> Callable[[], str]:
    """A function that issues a ticket for alice's token."""
    return lambda: browser_access.issue_ticket(session, alice, token.id, settings=settings, actor=Actor(alice.id))


def ticket_hash(settings: Settings, ticket: str) -> bytes:
    return secrets.hash_of(settings.tokens, ticket, Purpose.TICKET)


def cookie_hash(settings: Settings, entry: BrowserLogin) -> bytes:
    return secrets.hash_of(settings.tokens, entry.secret, Purpose.COOKIE)


def redeem(session: Session, settings: Settings, ticket: str, held: bytes | None = None) -> BrowserLogin:
    return browser_access.redeem(session, ticket_hash(settings, ticket), settings=settings, actor=BROWSER, held=held)


def found(session: Session, settings: Settings, entry: BrowserLogin) -> TokenSnapshot | None:
    return browser_access.find_by_cookie(session, cookie_hash(settings, entry))


def begin(session: Session, token: AccessToken) -> None:
    sessions.start_session(session, token.id, device=None, rules=Rules(), actor=BROWSER)


def test_a_ticket_becomes_a_cookie_of_its_token_with_a_device_of_its_own(
    session: Session, alice: User, token: AccessToken, settings: Settings, issue: Callable[[], str]
) -> None:
    first, second = (redeem(session, settings, issue()) for _ in range(2))
    one, other = found(session, settings, first), found(session, settings, second)
    assert one is not None
    assert other is not None
    assert (one.token_id, one.user_id, one.prefix) == (token.id, alice.id, token.prefix)
    assert one.own_device is not None
    assert len(one.own_device) in range(8, 256)
    assert one.own_device != other.own_device
    assert token.activated_at is None


def test_each_step_is_audited_and_the_browser_acts_for_the_owner(
    session: Session, alice: User, settings: Settings, issue: Callable[[], str]
) -> None:
    redeem(session, settings, issue())
    assert actions(session, alice)[-2:] == ["ticket.issued", "cookie.opened"]


def test_a_cookies_lifetime_is_the_remaining_time(
    session: Session, token: AccessToken, settings: Settings, time: Clock, issue: Callable[[], str]
) -> None:
    assert redeem(session, settings, issue()).seconds == 24 * 3600
    begin(session, token)
    time.advance(hours=23, minutes=59)
    assert redeem(session, settings, issue()).seconds == 60


def test_a_ticket_is_single_use(session: Session, settings: Settings, issue: Callable[[], str]) -> None:
    ticket = issue()
    redeem(session, settings, ticket)
    with pytest.raises(TicketRefused):
        redeem(session, settings, ticket)


def test_checking_a_ticket_does_not_use_it(
    session: Session, token: AccessToken, settings: Settings, issue: Callable[[], str]
) -> None:
    ticket = issue()
    for _ in range(3):
        assert browser_access.grants_access(session, ticket_hash(settings, ticket)) == token.prefix
    redeem(session, settings, ticket)
    assert browser_access.grants_access(session, ticket_hash(settings, ticket)) is None


def test_a_ticket_expires_after_thirty_seconds(
    session: Session, settings: Settings, time: Clock, issue: Callable[[], str]
) -> None:
    early, late = issue(), issue()
    time.advance(seconds=29)
    redeem(session, settings, early)
    time.advance(seconds=1)
    assert browser_access.grants_access(session, ticket_hash(settings, late)) is None
    with pytest.raises(TicketRefused):
        redeem(session, settings, late)


def test_another_users_token_has_no_tickets(
    session: Session, charlie: User, token: AccessToken, settings: Settings
) -> None:
    with pytest.raises(NotFound):
        browser_access.issue_ticket(session, charlie, token.id, settings=settings, actor=PLATFORM)


def test_an_unusable_token_has_no_tickets(
    *, session: Session, alice: User, token: AccessToken, settings: Settings, time: Clock, issue: Callable[[], str]
) -> None:
    begin(session, token)
    token.paused_at, token.pause_limit_seconds = time(), 86400
    with pytest.raises(TokenUnusable, match="paused"):
        issue()
    token.paused_at, token.pause_limit_seconds = None, 0
    time.advance(hours=24)
    with pytest.raises(TokenUnusable, match="expired"):
        issue()
    other = buy(session, alice, settings)
    revocation.revoke(session, alice, other.id, settings=settings, actor=PLATFORM)
    with pytest.raises(TokenUnusable, match="revoked"):
        browser_access.issue_ticket(session, alice, other.id, settings=settings, actor=PLATFORM)
    roles.set_active(session, alice.id, active=False, actor=PLATFORM)
    session.refresh(alice)
    with pytest.raises(AccountDisabled):
        issue()


@pytest.mark.parametrize("end", ["revoked", "disabled", "expired"])
def test_a_ticket_issued_before_its_token_ended_is_refused(
    *, session: Session, alice: User, token: AccessToken, settings: Settings, issue: Callable[[], str], end: str
) -> None:
    ticket = issue()
    match end:
        case "revoked":
            revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
        case "disabled":
            roles.set_active(session, alice.id, active=False, actor=PLATFORM)
        case "expired":
            token.activated_at = clock.now() - timedelta(days=2)
            session.flush()
    with pytest.raises(TicketRefused):
        redeem(session, settings, ticket)
    assert session.scalar(select(func.count()).select_from(AccessCookie)) == 0


def test_tickets_cookies_and_tokens_are_never_confused(
    session: Session, settings: Settings, issue: Callable[[], str]
) -> None:
    made = {purpose: secrets.new_secret(settings.tokens, purpose) for purpose in Purpose}
    for purpose, secret in made.items():
        genuine = [other for other in Purpose if secrets.is_genuine(settings.tokens, secret, other)]
        assert genuine == [purpose]
        assert len({secrets.hash_of(settings.tokens, secret, other) for other in Purpose}) == len(Purpose)
    entry = redeem(session, settings, issue())
    assert token_lookup.find(session, cookie_hash(settings, entry)) is None
    assert token_lookup.find(session, secrets.hash_of(settings.tokens, entry.secret)) is None


def test_a_returning_browser_keeps_its_device_and_its_old_cookie_ends(
    session: Session, settings: Settings, token: AccessToken, issue: Callable[[], str]
) -> None:
    first = redeem(session, settings, issue())
    before, version = found(session, settings, first), token.version
    second = redeem(session, settings, issue(), held=cookie_hash(settings, first))
    after = found(session, settings, second)
    assert before is not None
    assert after is not None
    assert after.own_device == before.own_device
    assert found(session, settings, first) is None
    # Workers are notified.
    session.refresh(token)
    assert token.version == version + 1


def test_a_cookie_of_another_token_stays_and_keeps_its_device(
    session: Session, alice: User, settings: Settings, issue: Callable[[], str]
) -> None:
    other = buy(session, alice, settings)
    ticket = browser_access.issue_ticket(session, alice, other.id, settings=settings, actor=PLATFORM)
    first = redeem(session, settings, ticket)
    second = redeem(session, settings, issue(), held=cookie_hash(settings, first))
    one, two = found(session, settings, first), found(session, settings, second)
    assert one is not None
    assert two is not None
    assert one.own_device != two.own_device


def test_when_a_tokens_secret_changes_its_tickets_and_cookies_end(
    session: Session, token: AccessToken, settings: Settings, issue: Callable[[], str]
) -> None:
    entry, ticket, version = redeem(session, settings, issue()), issue(), token.version
    browser_access.end_of_token(session, token.id)
    assert found(session, settings, entry) is None
    with pytest.raises(TicketRefused):
        redeem(session, settings, ticket)
    session.refresh(token)
    assert token.version > version


def test_a_cookie_of_a_revoked_token_reports_the_revocation(
    session: Session, alice: User, token: AccessToken, settings: Settings, issue: Callable[[], str]
) -> None:
    entry = redeem(session, settings, issue())
    revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    known = found(session, settings, entry)
    assert known is not None
    assert known.is_revoked


def test_ended_tickets_and_cookies_are_deleted_and_the_rest_is_kept(
    *, session: Session, alice: User, token: AccessToken, settings: Settings, time: Clock, issue: Callable[[], str]
) -> None:
    revoked = buy(session, alice, settings)
    ticket = browser_access.issue_ticket(session, alice, revoked.id, settings=settings, actor=PLATFORM)
    redeem(session, settings, ticket)
    revocation.revoke(session, alice, revoked.id, settings=settings, actor=PLATFORM)
    replaced = redeem(session, settings, issue())
    kept = redeem(session, settings, issue(), held=cookie_hash(settings, replaced))
    time.advance(seconds=31)
    fresh = issue()
    # Three used tickets, the cookie of the revoked token, and the replaced one.
    assert [browser_access.delete_ended(session) for _ in range(2)] == [5, 0]
    assert found(session, settings, kept) is not None
    assert browser_access.grants_access(session, ticket_hash(settings, fresh)) is not None
    # An outage credit may extend an expired token; after a week its cookies are deleted.
    begin(session, token)
    time.advance(days=2)
    browser_access.delete_ended(session)
    assert found(session, settings, kept) is not None
    time.advance(days=7)
    browser_access.delete_ended(session)
    assert found(session, settings, kept) is None


def test_neither_secret_is_in_the_database(session: Session, settings: Settings, issue: Callable[[], str]) -> None:
    ticket = issue()
    entry = redeem(session, settings, ticket)
    rows = [*session.scalars(select(AccessTicket.secret_hash)), *session.scalars(select(AccessCookie.secret_hash))]
    assert rows == [ticket_hash(settings, ticket), cookie_hash(settings, entry)]
    assert all(secret.encode() not in row for row in rows for secret in (ticket, entry.secret))


def test_the_table_refuses_a_device_that_the_gate_would_refuse(session: Session, token: AccessToken) -> None:
    session.add(AccessCookie(token_id=token.id, secret_hash=b"x" * 32, device_id="short"))
    with pytest.raises(IntegrityError, match="device_id_length"):
        session.flush()


def test_a_ticket_sent_twice_concurrently_creates_one_cookie(committed: Committed) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        token = buy(session, alice, settings)
    for _ in range(8):
        with factory.begin() as session:
            ticket = browser_access.issue_ticket(session, alice, token.id, settings=settings, actor=PLATFORM)

        def take(ticket: str = ticket) -> Any:
            with factory.begin() as session:
                return redeem(session, settings, ticket)

        results = race(take, take, take)
        assert sorted(type(result).__name__ for result in results) == ["BrowserLogin", "TicketRefused", "TicketRefused"]


def test_a_rotation_and_a_ticket_at_the_same_instant_leave_no_cookie_behind_and_no_deadlock(
    committed: Committed,
) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        token = buy(session, alice, settings)
    for _ in range(8):
        with factory.begin() as session:
            ticket = browser_access.issue_ticket(session, alice, token.id, settings=settings, actor=PLATFORM)

        def take(ticket: str = ticket) -> Any:
            with factory.begin() as session:
                return redeem(session, settings, ticket)

        def rotate() -> None:
            with factory.begin() as session:
                browser_access.end_of_token(session, token.id)

        taken, rotated = race(take, rotate)
        assert isinstance(taken, BrowserLogin | TicketRefused)
        assert rotated is None
        with factory() as session:
            assert session.scalars(select(AccessCookie).where(AccessCookie.ended_at.is_(None))).all() == []

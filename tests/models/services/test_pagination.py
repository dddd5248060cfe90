"""Pages are cut in the database with clamped bounds, and the audit log commits with its changes."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.audit import AuditAction, AuditEntry
from models.config.settings import Settings
from models.database import Sessions
from models.services.accounts import roles, users
from models.services.actor import PLATFORM, Actor
from models.services.audit import log as audit_log
from models.services.gateway import sessions, usage_counts
from models.services.ledger import transfers
from models.services.pagination import MAX_LIMIT, Page, fetch_page
from models.services.reports import overview, usage
from models.services.tokens import queries as token_queries
from models.services.tokens import revocation
from models.users import User
from tests.conftest import Clock, make_user
from tests.factories import buy, person, top_up


@pytest.mark.parametrize(
    ("limit", "offset", "got", "kept"),
    [
        (2, 0, ["u4", "u3"], (2, 0)),
        (2, 4, ["u0"], (2, 4)),
        (2, 99, [], (2, 99)),
        (0, 0, ["u4"], (1, 0)),
        (-5, -5, ["u4"], (1, 0)),
        (10**9, 0, ["u4", "u3", "u2", "u1", "u0"], (MAX_LIMIT, 0)),
        (1, 10**30, [], (1, 1_000_000)),
    ],
)
def test_limit_and_offset_are_clamped(
    session: Session, limit: int, offset: int, got: list[str], kept: tuple[int, int]
) -> None:
    for number in range(5):
        make_user(session, f"user{number}")
    page = fetch_page(session, select(User), order=(User.username.desc(),), limit=limit, offset=offset)
    assert [user.username.replace("ser", "") for user in page.items] == got
    assert (page.limit, page.offset, page.total) == (*kept, 5)


@pytest.mark.parametrize(("offset", "before", "after"), [(0, False, True), (2, True, True), (4, True, False)])
def test_a_page_knows_whether_there_is_more(offset: int, before: bool, after: bool) -> None:
    page = Page(items=[1, 2], total=6, limit=2, offset=offset)
    assert (page.has_previous, page.has_next) == (before, after)


def test_pages_of_equal_times_neither_repeat_nor_lose_anything(
    session: Session, alice: User, settings: Settings
) -> None:
    bought = {buy(session, alice, settings, hours=1).id for _ in range(7)}
    pages = [token_queries.of_user(session, alice.id, limit=2, offset=offset).items for offset in range(0, 8, 2)]
    seen = [token.id for page in pages for token in page]
    assert len(seen) == 7
    assert set(seen) == bought


def test_the_audit_log_is_read_newest_first_and_by_user_and_action(
    session: Session, alice: User, bob: User, dana: User
) -> None:
    roles.set_active(session, bob.id, active=False, actor=Actor(dana.id, "203.0.113.7", "A browser"))
    session.flush()
    newest = audit_log.entries(session, limit=10, offset=0).items[0]
    assert (newest.action, newest.actor, newest.user) == (AuditAction.USER_DISABLED, dana, bob)
    assert (newest.ip_address, newest.user_agent) == ("203.0.113.7", "A browser")
    assert audit_log.entries(session, limit=10, offset=0, user_id=alice.id).total == 2
    assert audit_log.entries(session, limit=10, offset=0, action=AuditAction.USER_REGISTERED).total == 3
    assert audit_log.entries(session, limit=10, offset=0, user_id=alice.id, action=AuditAction.USER_DISABLED).total == 0


def test_a_long_user_agent_or_address_is_truncated(session: Session, alice: User) -> None:
    actor = Actor(None, "f" * 100, "x" * 10_000)
    audit_log.record(session, AuditAction.USER_LOGGED_OUT, actor, user_id=alice.id, resource=("user", alice.id))
    session.flush()
    entry = audit_log.entries(session, limit=1, offset=0).items[0]
    assert entry.ip_address == "f" * 45
    assert entry.user_agent == "x" * 300


@pytest.mark.parametrize("what", ["purchase", "disable", "password", "top up", "first use"])
def test_a_change_that_is_rolled_back_leaves_no_trace(committed: tuple[Settings, Sessions], what: str) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        token = buy(session, alice, settings)

    def rows() -> int:
        with factory.begin() as session:
            return session.scalar(select(func.count()).select_from(AuditEntry)) or 0

    def change(session: Session) -> None:
        owner = session.get_one(User, alice.id)
        match what:
            case "purchase":
                buy(session, owner, settings)
            case "disable":
                roles.set_active(session, owner.id, active=False, actor=PLATFORM)
            case "password":
                users.change_password(
                    session, owner, current="correct horse battery", new="another good one", actor=PLATFORM
                )
            case "top up":
                top_up(session, owner, settings)
            case "first use":
                sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)

    before = rows()
    with factory() as session:
        change(session)
        session.flush()
        session.rollback()
    assert rows() == before
    with factory.begin() as session:
        change(session)
    assert rows() > before


def test_the_overview_figures_are_correct(
    session: Session, alice: User, bob: User, settings: Settings, time: Clock
) -> None:
    ready, running, expired, revoked, paused = (buy(session, alice, settings, hours=h) for h in (12, 12, 1, 1, 1))
    for token in (running, expired, paused):
        held = sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
        usage_counts.add_counts(session, [usage_counts.SessionCounts(held.id, 2, 10, 100, time())])
    paused.paused_at, paused.pause_limit_seconds = time(), 86400
    revocation.revoke(session, alice, revoked.id, settings=settings, actor=PLATFORM)
    top_up(session, bob, settings)
    time.advance(hours=1)
    figures = overview.user_overview(session, alice.id)
    carried = usage.sum_entries(figures.days)
    assert (figures.usable_tokens, carried.requests, carried.bytes_transferred) == (2, 6, 330)
    assert {token.id for token in figures.running} == {ready.id, running.id, paused.id}
    nothing = overview.user_overview(session, bob.id)
    assert (nothing.usable_tokens, nothing.running, nothing.today) == (0, [], usage.Usage())
    shop = overview.shop_overview(session)
    assert (shop.users, shop.running_tokens, shop.open_sessions, shop.pending_payments) == (2, 1, 3, 1)
    assert shop.sold == 23
    assert ready.activated_at is None
    assert transfers.wallet_of(session, alice.id).balance == 78

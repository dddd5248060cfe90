"""Clean-up jobs find what is due, and a second run finds nothing."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from jobs import cleanup, mail
from models import clock
from models.browser_access import AccessTicket
from models.config.settings import Settings
from models.database import Sessions
from models.logins import Login, LoginKind
from models.proxy_sessions import ProxySession
from models.services.accounts import logins
from models.services.actor import PLATFORM
from models.services.gateway import sessions
from models.services.notifications import outbox
from models.services.tokens import browser_access, revocation
from models.users import User
from tests.conftest import make_user
from tests.factories import buy

Committed = tuple[Settings, Sessions]
Run = Callable[[Callable[..., Any]], Any]


def use(run: Run, settings: Settings, buyer: User) -> Any:
    """Sell and activate a token; return its id."""
    token = run(lambda s: buy(s, buyer, settings))
    run(lambda s: sessions.start_session(s, token.id, device=None, rules=settings.sessions, actor=PLATFORM))
    return token.id


def test_idle_sessions_and_those_of_ended_tokens_are_closed_once(shop: Committed, buyer: User, run: Run) -> None:
    busy, idle, revoked = (use(run, shop[0], buyer) for _ in range(3))
    long_ago = clock.now() - timedelta(hours=2)
    of_idle = ProxySession.token_id == idle
    run(lambda s: s.execute(update(ProxySession).where(of_idle).values(last_activity=long_ago)))
    run(lambda s: revocation.revoke(s, buyer, revoked, settings=shop[0], actor=PLATFORM))
    assert [cleanup.close_sessions() for _ in range(2)] == [2, 0]
    still_open = run(lambda s: s.scalars(select(ProxySession.token_id).where(ProxySession.ended_at.is_(None))).all())
    assert still_open == [busy]


def test_expired_tickets_are_deleted_once(shop: Committed, buyer: User, run: Run) -> None:
    token = run(lambda s: buy(s, buyer, shop[0]))
    ticket = {"settings": shop[0], "actor": PLATFORM}
    for _ in range(3):
        run(lambda s: browser_access.issue_ticket(s, buyer, token.id, **ticket))
    run(lambda s: s.execute(update(AccessTicket).values(expires_at=clock.now())))
    run(lambda s: browser_access.issue_ticket(s, buyer, token.id, **ticket))
    assert [cleanup.delete_browser_access() for _ in range(2)] == [3, 0]


def test_expired_logins_are_deleted_once(shop: Committed, buyer: User, run: Run) -> None:
    facts = {"kind": LoginKind.PAGE, "actor": PLATFORM}
    for hours in (1, 2):
        run(lambda s, hours=hours: logins.begin(s, buyer, lifetime=timedelta(hours=hours), **facts))
    past = timedelta(minutes=61)
    moved = {"created_at": Login.created_at - past, "expires_at": Login.expires_at - past}
    run(lambda s: s.execute(update(Login).values(moved)))
    assert [cleanup.delete_ended_logins() for _ in range(2)] == [1, 0]


def test_the_ledger_is_verified_and_a_fault_is_logged(
    shop: Committed, buyer: User, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert [cleanup.verify_ledger() for _ in range(2)] == [True, True]
    run(lambda s: s.execute(text("UPDATE accounts SET balance = balance + 1 WHERE kind = 'wallet'")))
    with caplog.at_level(logging.CRITICAL, "jobs.cleanup"):
        assert not cleanup.verify_ledger()
    assert "account_balance" in caplog.text


def test_every_admin_is_notified_of_a_ledger_fault_once_a_day(shop: Committed, buyer: User, run: Run) -> None:
    dana = run(lambda s: make_user(s, "dana", is_superuser=True))
    run(lambda s: s.execute(text("UPDATE accounts SET balance = balance + 1 WHERE kind = 'wallet'")))
    assert [cleanup.verify_ledger() for _ in range(2)] == [False, False]
    mails = run(lambda s: [row for row in outbox.claim(s) if row.kind == "ledger_fault"])
    assert [row.recipient for row in mails] == [dana.email]
    message = mail.render(mails[0], shop[0])
    part = message.get_body(("plain",))
    assert part is not None
    assert "A balance differs from its transfers:\n  wallet" in part.get_content()

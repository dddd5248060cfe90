"""Factories and helpers shared by tests: users, purchases, payments and races."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, event, func, select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.audit import AuditAction, AuditEntry
from models.bundles import Bundle
from models.config.settings import Settings
from models.database import Sessions
from models.logins import LoginKind
from models.payments import MockCheckout, Payment, PaymentResult
from models.proxy_sessions import ProxySession
from models.services.accounts import logins
from models.services.actor import PLATFORM, Actor
from models.services.ledger import transfers
from models.services.ledger import verification as ledger_verification
from models.services.payments import topups
from models.services.payments.providers import mock
from models.services.payments.providers.base import Event, Outcome
from models.services.reports import usage
from models.services.tokens import purchase as token_purchase
from models.users import User
from tests.conftest import make_user

BROWSER = Actor(ip_address="203.0.113.7", user_agent="A browser")

# Results of payment events that an admin has to review.
REVIEW_RESULTS = frozenset(
    {
        *(PaymentResult.ACCOUNT_DELETED, PaymentResult.AMOUNT_DIFFERS, PaymentResult.AMOUNT_EXCEEDS_PAYMENT),
        *(PaymentResult.AMOUNT_MISMATCH, PaymentResult.DISPUTE_UNKNOWN, PaymentResult.DISPUTE_STATE),
        *(PaymentResult.REFUND_STATE, PaymentResult.PAYMENT_STATE, PaymentResult.UNREADABLE),
    }
)


def buy(session: Session, user: User, settings: Settings, *, hours: int = 24, **more: Any) -> AccessToken:
    """Sell a token of full scope to a user and return it without its secret."""
    facts = {"scope": "full", "name": "", "actor": Actor(user.id), **more}
    return token_purchase.purchase(session, user, hours=hours, settings=settings, **facts)[0]


def balance(session: Session, user: User) -> Decimal:
    """Return a user's balance."""
    return transfers.wallet_of(session, user.id).balance


def top_up(session: Session, user: User, settings: Settings, amount: str = "50") -> Payment:
    """Start a payment at the mock provider."""
    facts = {"provider": "mock", "return_url": "/wallet", "settings": settings, "actor": Actor(user.id)}
    return topups.start(session, user, amount=Decimal(amount), **facts)


def decided(session: Session, payment: Payment, settings: Settings, outcome: Outcome = "succeeded") -> Event:
    """Pay or cancel at the mock provider, and return the verified callback."""
    checkout = session.scalars(select(MockCheckout).where(MockCheckout.payment_id == payment.id)).one()
    mock.decide(session, checkout.id, outcome)
    session.refresh(checkout)
    [event] = mock.MockProvider(settings).fetch(session, payment)
    return event


def actions(session: Session, user: User | None = None) -> list[AuditAction]:
    """Return the audited actions, oldest first."""
    query = select(AuditEntry.action).order_by(AuditEntry.id)
    return list(session.scalars(query if user is None else query.where(AuditEntry.user_id == user.id)))


def counted(sessions: Sessions, token_id: uuid.UUID | None = None) -> usage.Usage:
    """Return the counts of all sessions, or those of one token, and check them against the daily counts."""
    figures = (ProxySession.request_count, ProxySession.bytes_in, ProxySession.bytes_out)
    wanted = [] if token_id is None else [ProxySession.token_id == token_id]
    begun = func.count().filter(ProxySession.request_count > 0)
    with sessions() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        row = session.execute(select(*(func.coalesce(func.sum(one), 0) for one in figures), begun).where(*wanted)).one()
        assert usage.total(session, token_id=token_id) == usage.Usage(*row)
    return usage.Usage(*map(int, row))


def person(sessions: Sessions, name: str, **more: Any) -> User:
    """Register a user and commit."""
    with sessions.begin() as session:
        return make_user(session, name, **more)


def assert_sound(sessions: Sessions) -> None:
    """Ledger verification passes."""
    with sessions.begin() as session:
        assert ledger_verification.verify(session).faults == {}


def race(*calls: Callable[[], Any]) -> list[Any]:
    """Run all calls at the same instant, each in a thread; return what each returned or raised, in order."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(index: int, call: Callable[[], Any]) -> None:
        barrier.wait(timeout=10)
        try:
            results[index] = call()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[index] = error

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive(), "a thread hangs"
    return results


def logged_in(factory: Sessions, name: str = "alice") -> User:
    """Return a user with an open login."""
    user = person(factory, name, balance="10")
    with factory.begin() as session:
        facts = {"kind": LoginKind.PAGE, "lifetime": timedelta(hours=1), "actor": PLATFORM}
        logins.begin(session, session.get_one(User, user.id), **facts)
    return user


def crossing(factory: Sessions, first: Callable[[Any], Any], part: str, second: Callable[[Any], Any]) -> list[Any]:
    """Run `first` up to its first statement that contains `part`, then start `second`, and let both finish.

    Returns what each returned or raised."""
    held, goes_on, me = threading.Event(), threading.Event(), threading.local()

    def hold(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if getattr(me, "is_first", False) and part in statement and not held.is_set():
            held.set()
            # The other one either ends meanwhile or waits for a row of ours.
            goes_on.wait(timeout=0.5)

    def run_first() -> Any:
        me.is_first = True
        try:
            with factory.begin() as session:
                return first(session)
        finally:
            held.set()

    def run_second() -> Any:
        held.wait(timeout=10)
        with factory.begin() as session:
            made = second(session)
        goes_on.set()
        return made

    event.listen(engine_of(factory), "after_cursor_execute", hold)
    try:
        return race(run_first, run_second)
    finally:
        event.remove(engine_of(factory), "after_cursor_execute", hold)


class Crash(Exception):
    """A simulated crash of the process."""


@contextmanager
def crash_after(engine: Engine, statements: int) -> Iterator[None]:
    """Raise Crash once the engine has run that many statements."""
    run = 0

    def count(*_arguments: Any) -> None:
        nonlocal run
        run += 1
        if run == statements:
            raise Crash

    event.listen(engine, "after_cursor_execute", count)
    try:
        yield
    finally:
        event.remove(engine, "after_cursor_execute", count)


def engine_of(sessions: Sessions) -> Engine:
    """Return the engine of a session factory."""
    engine: Engine = sessions.kw["bind"]
    return engine


def some_bundle(session: Session, name: str = "Starter") -> Bundle:
    """Return one of the default bundles."""
    return session.scalars(select(Bundle).where(Bundle.name == name)).one()

"""Auto-renewal: announced, done once, and stopped with a notification when it fails."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken, TokenState
from models.audit import AuditAction
from models.config.settings import Settings
from models.database import Sessions
from models.outages import Outage
from models.outbox import OutboxMail
from models.proxy_sessions import ProxySession
from models.services.actor import PLATFORM, Actor
from models.services.errors import InvalidInput, NotFound, PriceChanged, TokenEnded
from models.services.gateway import sessions
from models.services.notifications import outbox
from models.services.tokens import extension, outage_credit, renewal, revocation
from models.services.tokens import pause as token_pause
from models.users import User
from tests.conftest import Clock, some_id
from tests.factories import Crash, actions, assert_sound, balance, buy, crash_after, engine_of, person, race


def begun(session: Session, owner: User, settings: Settings, *, hours: int = 24) -> AccessToken:
    """A running token with auto-renewal."""
    token = buy(session, owner, settings, hours=hours)
    sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
    renewal.set_auto_renew(session, owner, token.id, on=True, settings=settings, actor=Actor(owner.id))
    session.flush()
    return token


def mails(session: Session) -> list[tuple[str, dict[str, Any]]]:
    rows = session.scalars(
        select(OutboxMail).where(OutboxMail.kind.startswith("renew")).order_by(OutboxMail.created_at)
    )
    return [(mail.kind, mail.context) for mail in rows]


def run(session: Session, settings: Settings) -> int:
    return sum(renewal.renew(session, token_id, settings) for token_id in renewal.due(session, settings))


def notify(session: Session, settings: Settings) -> int:
    return sum(renewal.notify(session, token_id, settings) for token_id in renewal.due_to_notify(session, settings))


def test_a_token_is_renewed_five_minutes_before_its_end_and_its_owner_notified(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    token = begun(session, alice, settings)
    ends = token.expires_at
    assert ends is not None
    time.advance(hours=23, minutes=54, seconds=59)
    assert run(session, settings) == 0
    time.advance(seconds=1)
    assert run(session, settings) == 1
    assert run(session, settings) == 0
    assert token.expires_at == ends + timedelta(hours=24)
    assert (token.price_paid, token.paid_seconds, balance(session, alice)) == (36, 48 * 3600, 64)
    kind, facts = mails(session)[-1]
    assert (kind, facts["price"], facts["balance"], facts["hours"]) == ("renewed", "18.00", "64.00", 24)
    assert actions(session, alice)[-1] is AuditAction.TOKEN_RENEWED
    time.advance(hours=24)
    assert run(session, settings) == 1
    assert balance(session, alice) == 46


def test_a_token_that_is_due_is_renewed_although_the_clock_is_set_back(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    """Admission counts used time by its last use, so renewal has to, or the token ends unrenewed."""
    token = begun(session, alice, settings)
    time.advance(hours=23, minutes=58)
    used = session.scalars(select(ProxySession).where(ProxySession.token_id == token.id)).one()
    used.last_activity = time()
    session.flush()
    time.advance(hours=-20)
    assert run(session, settings) == 1
    assert (token.auto_renew, token.paid_seconds, balance(session, alice)) == (True, 48 * 3600, 64)


def test_its_owner_is_notified_once_a_day_before(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    token = begun(session, alice, settings, hours=168)
    time.advance(days=5, hours=23, minutes=59)
    assert notify(session, settings) == 0
    time.advance(minutes=1)
    assert (notify(session, settings), notify(session, settings)) == (1, 0)
    kind, facts = mails(session)[0]
    assert (kind, facts["price"], facts["balance"], facts["short"]) == ("renewal_ahead", "100.00", "0.00", "100.00")
    assert facts["ends"] == token.expires_at.isoformat()


def test_a_short_tokens_owner_is_notified_at_half_time(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    begun(session, alice, settings, hours=12)
    time.advance(hours=5, minutes=59)
    assert notify(session, settings) == 0
    time.advance(minutes=1)
    assert notify(session, settings) == 1
    assert mails(session)[0][1]["short"] is None


def test_with_insufficient_balance_the_renewal_stops_and_the_token_expires(
    session: Session, charlie: User, alice: User, settings: Settings, time: Clock
) -> None:
    token = begun(session, alice, settings)
    ends = token.expires_at
    buy(session, alice, settings, hours=24)
    buy(session, alice, settings, hours=24)
    buy(session, alice, settings, hours=24)
    buy(session, alice, settings, hours=12)
    buy(session, alice, settings, hours=1)
    time.advance(hours=23, minutes=56)
    assert run(session, settings) == 1
    assert (token.auto_renew, token.expires_at, balance(session, alice)) == (False, ends, 17)
    kind, facts = mails(session)[-1]
    assert (kind, facts["reason"], facts["price"]) == ("renewal_stopped", "balance", "18.00")
    assert actions(session, alice)[-1] is AuditAction.TOKEN_RENEWAL_STOPPED
    assert run(session, settings) == 0


def test_a_late_job_charges_nothing(session: Session, alice: User, settings: Settings, time: Clock) -> None:
    token = begun(session, alice, settings)
    time.advance(hours=24)
    assert run(session, settings) == 1
    assert (token.state(time()), token.auto_renew, balance(session, alice)) == (TokenState.EXPIRED, False, 82)
    assert mails(session)[-1][1]["reason"] == "late"


def test_a_withdrawn_duration_or_a_disabled_owner_stops_the_renewal(
    session: Session, alice: User, bob: User, settings: Settings, time: Clock
) -> None:
    sold = begun(session, alice, settings)
    of_bob = begun(session, bob, settings, hours=12)
    bob.is_active = False
    prices = settings.prices.model_copy(update={"znc": {1: settings.prices.znc[1], 12: settings.prices.znc[12]}})
    changed = settings.model_copy(update={"prices": prices})
    time.advance(hours=11, minutes=57)
    assert run(session, changed) == 1
    assert (of_bob.auto_renew, mails(session)[-1][1]["reason"]) == (False, "disabled")
    time.advance(hours=12)
    assert run(session, changed) == 1
    assert (sold.auto_renew, mails(session)[-1][1]["reason"]) == (False, "not_for_sale")
    with pytest.raises(InvalidInput):
        renewal.set_auto_renew(session, alice, sold.id, on=True, settings=changed, actor=PLATFORM)


def test_a_pause_or_an_extension_postpones_the_renewal(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    token = begun(session, alice, settings, hours=12)
    other = begun(session, alice, settings, hours=12)
    time.advance(hours=11, minutes=57)
    token_pause.pause(session, alice, token.id, settings=settings, actor=PLATFORM)
    facts = {"hours": 1, "key": some_id(), "settings": settings, "actor": PLATFORM}
    extension.extend(session, alice, other.id, **facts)  # type: ignore[arg-type]
    assert run(session, settings) == 0
    time.advance(hours=1)
    assert run(session, settings) == 1
    assert token.paid_seconds == 12 * 3600


def test_only_the_owner_sets_auto_renewal_and_only_before_the_end(
    session: Session, alice: User, bob: User, settings: Settings, time: Clock
) -> None:
    token = begun(session, alice, settings)
    with pytest.raises(NotFound):
        renewal.set_auto_renew(session, bob, token.id, on=False, settings=settings, actor=PLATFORM)
    renewal.set_auto_renew(session, alice, token.id, on=False, settings=settings, actor=PLATFORM)
    time.advance(hours=23, minutes=59)
    assert run(session, settings) == 0
    revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    with pytest.raises(TokenEnded):
        renewal.set_auto_renew(session, alice, token.id, on=True, settings=settings, actor=PLATFORM)


def test_two_jobs_at_the_same_instant_renew_once(committed: tuple[Settings, Sessions], time: Clock) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        token = begun(session, alice, settings)
    time.advance(hours=23, minutes=58)

    def renew() -> bool:
        with factory.begin() as session:
            return renewal.renew(session, token.id, settings)

    assert sorted(race(renew, renew)) == [False, True]
    with factory.begin() as session:
        assert balance(session, alice) == 64
    assert_sound(factory)


def test_a_crash_anywhere_renews_later_and_once(committed: tuple[Settings, Sessions], time: Clock) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        token = begun(session, alice, settings)
    time.advance(hours=23, minutes=58)
    renew: Callable[[Session], bool] = lambda session: renewal.renew(session, token.id, settings)  # noqa: E731
    for statements in range(1, 40):
        try:
            with crash_after(engine_of(factory), statements), factory.begin() as session:
                renew(session)
        except Crash:
            with factory.begin() as session:
                assert balance(session, alice) == 82
            assert_sound(factory)
        else:
            break
    assert statements > 5
    with factory.begin() as session:
        assert balance(session, alice) == 64
        assert [mail.kind for mail in outbox.claim(session)].count("renewed") == 1
    assert_sound(factory)


def with_price(settings: Settings, znc: str, hours: int = 24) -> Settings:
    """The settings with another price for a duration."""
    prices = {**settings.prices.znc, hours: Decimal(znc)}
    return settings.model_copy(update={"prices": settings.prices.model_copy(update={"znc": prices})})


def test_a_price_that_rises_after_its_announcement_is_announced_again_and_not_charged(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    """Nobody is charged a price that was not announced to them."""
    token = begun(session, alice, settings)
    time.advance(hours=13)
    assert notify(session, settings) == 1
    dear = with_price(settings, "60")
    assert (notify(session, dear), notify(session, dear)) == (1, 0)
    kind, facts = mails(session)[-1]
    assert (kind, facts["price"], facts["told"]) == ("renewal_price", "60.00", "18.00")
    time.advance(hours=10, minutes=58)
    assert (run(session, dear), balance(session, alice)) == (0, 82)
    time.advance(minutes=5)
    assert run(session, dear) == 1
    assert (token.auto_renew, token.state(time()), balance(session, alice)) == (False, TokenState.EXPIRED, 82)
    kind, facts = mails(session)[-1]
    assert (kind, facts["reason"], facts["price"]) == ("renewal_stopped", "price", "60.00")


def test_a_price_that_the_owner_accepts_is_charged(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    token = begun(session, alice, settings)
    dear = with_price(settings, "60")
    time.advance(hours=23, minutes=57)
    assert (run(session, dear), run(session, dear), balance(session, alice)) == (1, 0, 82)
    assert mails(session)[-1][0] == "renewal_price"
    facts = {"on": True, "actor": Actor(alice.id)}
    with pytest.raises(PriceChanged):
        renewal.set_auto_renew(session, alice, token.id, settings=dear, shown=Decimal(18), **facts)  # type: ignore[arg-type]
    renewal.set_auto_renew(session, alice, token.id, settings=dear, shown=Decimal(60), **facts)  # type: ignore[arg-type]
    assert run(session, with_price(settings, "61")) == 1
    assert balance(session, alice) == 82
    assert run(session, dear) == 1
    assert (balance(session, alice), token.paid_seconds) == (22, 48 * 3600)


def test_a_price_announced_a_day_ahead_or_a_lower_one_is_charged(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    begun(session, alice, settings)
    begun(session, alice, settings, hours=12)
    dear = with_price(settings, "20")
    time.advance(hours=6)
    assert notify(session, dear) == 1
    time.advance(hours=5, minutes=57)
    assert run(session, with_price(settings, "8", 12)) == 1
    assert balance(session, alice) == 64
    time.advance(minutes=4)
    assert notify(session, dear) == 1
    assert mails(session)[-1][1]["price"] == "20.00"
    time.advance(hours=11, minutes=56)
    assert (run(session, dear), balance(session, alice)) == (2, 64 - 20 - 10)


def test_nothing_is_charged_during_an_outage_and_the_token_runs_on_after_it(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    token = begun(session, alice, settings)
    time.advance(hours=23, minutes=50)
    outage = Outage(opened_at=time(), last_failed_at=time())
    session.add(outage)
    time.advance(minutes=30)
    outage.last_failed_at = time()
    session.flush()
    assert (run(session, settings), balance(session, alice)) == (0, 82)
    outage.closed_at = time()
    session.flush()
    assert (run(session, settings), token.auto_renew) == (0, True)
    outage_credit.credit(session, outage.id, settings, limit=10)
    outage_credit.credit(session, outage.id, settings, limit=10)
    assert token.state(time()) is TokenState.ACTIVE
    time.advance(minutes=6)
    assert (run(session, settings), balance(session, alice)) == (1, 64)


def test_time_renewed_during_an_outage_is_credited_beyond_the_limit(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    rules = settings.renewal.model_copy(update={"in_outage": "renew"})
    credit = settings.outage_credit.model_copy(update={"at_most_hours": 12})
    eager = settings.model_copy(update={"renewal": rules, "outage_credit": credit})
    token = begun(session, alice, eager)
    time.advance(hours=12)
    outage = Outage(opened_at=time(), last_failed_at=time())
    session.add(outage)
    time.advance(hours=11, minutes=58)
    outage.last_failed_at = time()
    assert (run(session, eager), balance(session, alice)) == (1, 64)
    time.advance(hours=23)
    outage.last_failed_at = outage.closed_at = time()
    session.flush()
    assert outage_credit.pending(session, token, time(), eager) == 34 * 3600 + 58 * 60
    outage_credit.credit(session, outage.id, eager, limit=10)
    assert token.seconds_left(time()) == 36 * 3600

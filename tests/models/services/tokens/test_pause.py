"""Pauses: the remaining time is kept, within limits that keep an hour from lasting a year."""

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
from models.outages import Outage
from models.services.actor import PLATFORM, Actor
from models.services.errors import NotFound, PauseRefused, PauseTooShort, TokenEnded, TokenUnusable
from models.services.gateway import sessions, token_lookup
from models.services.tokens import extension, renewal, revocation
from models.services.tokens import pause as token_pause
from models.services.tokens import queries as token_queries
from models.token_pauses import TokenPause
from models.users import User
from tests.conftest import Clock, some_id
from tests.factories import actions, buy

Do = Callable[..., AccessToken]


@pytest.fixture
def token(session: Session, alice: User, settings: Settings, time: Clock) -> AccessToken:
    """A running 24-hour token of alice's."""
    sold = buy(session, alice, settings)
    sessions.start_session(session, sold.id, device=None, rules=settings.sessions, actor=PLATFORM)
    return sold


@pytest.fixture
def do(session: Session, alice: User, settings: Settings, token: AccessToken) -> Do:
    """Pause or resume as alice."""

    def act(what: str, *, who: User | None = None, **rules: Any) -> AccessToken:
        changed = settings.model_copy(update={"pause": settings.pause.model_copy(update=rules)})
        owner = who or alice
        call = getattr(token_pause, what)
        done: AccessToken = call(session, owner, token.id, settings=changed, actor=Actor(owner.id))
        return done

    return act


def test_the_remaining_time_is_kept_during_a_pause_and_runs_on_after_it(
    *, do: Do, token: AccessToken, time: Clock, session: Session, alice: User, settings: Settings
) -> None:
    time.advance(hours=4)
    do("pause")
    assert (token.state(time()), token.expires_at, token.seconds_left(time())) == (TokenState.PAUSED, None, 20 * 3600)
    before = revocation.refund_due(token, time(), settings)
    time.advance(days=3)
    assert token.seconds_left(time()) == 20 * 3600
    assert revocation.refund_due(token, time(), settings) == before
    do("resume")
    assert (token.state(time()), token.paused_seconds) == (TokenState.ACTIVE, 3 * 86400)
    assert token.expires_at == time() + timedelta(hours=20)
    assert actions(session, alice)[-2:] == [AuditAction.TOKEN_PAUSED, AuditAction.TOKEN_RESUMED]


def test_only_a_running_token_is_paused_and_only_a_paused_one_resumed(do: Do, token: AccessToken, time: Clock) -> None:
    with pytest.raises(TokenUnusable, match="active"):
        do("resume")
    do("pause")
    with pytest.raises(TokenUnusable, match="paused"):
        do("pause")
    time.advance(minutes=10)
    do("resume")
    time.advance(days=1)
    for what in ("pause", "resume"):
        with pytest.raises(TokenUnusable, match="expired"):
            do(what)


def test_an_unused_token_cannot_be_paused(session: Session, alice: User, settings: Settings, time: Clock) -> None:
    fresh = buy(session, alice, settings)
    with pytest.raises(TokenUnusable, match="ready"):
        token_pause.pause(session, alice, fresh.id, settings=settings, actor=PLATFORM)


def test_nobody_but_the_owner_pauses_or_resumes(do: Do, bob: User, time: Clock) -> None:
    with pytest.raises(NotFound):
        do("pause", who=bob)
    do("pause")
    time.advance(hours=1)
    with pytest.raises(NotFound):
        do("resume", who=bob)


def test_a_pause_has_a_minimum_length(do: Do, time: Clock) -> None:
    began = time()
    do("pause")
    time.advance(minutes=9, seconds=59)
    with pytest.raises(PauseTooShort) as caught:
        do("resume")
    assert caught.value.until == began + timedelta(minutes=10)
    time.advance(seconds=1)
    assert do("resume").paused_seconds == 600


def test_a_token_has_five_pauses(do: Do, time: Clock, session: Session, token: AccessToken, settings: Settings) -> None:
    for taken in range(5):
        assert token_pause.preview(session, token, settings).left == 4 - taken
        do("pause")
        time.advance(minutes=10)
        do("resume")
    with pytest.raises(PauseRefused, match="pause_refused_too_many"):
        do("pause")
    assert token.paused_seconds == 3000


def test_a_pause_ends_at_its_limit_whenever_the_job_runs(
    do: Do, time: Clock, session: Session, token: AccessToken, settings: Settings
) -> None:
    do("pause")
    time.advance(days=20)
    do("resume")
    began = time()
    do("pause")
    time.advance(days=10, seconds=-1)
    assert token_pause.due(session) == []
    assert not token_pause.resume_due(session, token.id)
    time.advance(seconds=1, hours=5)
    assert token_pause.due(session) == [token.id]
    assert token_pause.resume_due(session, token.id)
    assert not token_pause.resume_due(session, token.id)
    assert token.paused_seconds == 30 * 86400
    assert token.seconds_left(time()) == 19 * 3600
    rows = session.scalars(select(TokenPause).order_by(TokenPause.started_at)).all()
    assert rows[-1].ended_at == began + timedelta(days=10)
    with pytest.raises(PauseRefused, match="pause_refused_used_up"):
        do("pause")


def test_an_owner_who_resumes_after_that_moment_gains_nothing(do: Do, time: Clock, token: AccessToken) -> None:
    do("pause")
    time.advance(days=30, hours=2)
    do("resume")
    assert (token.paused_seconds, token.seconds_left(time())) == (30 * 86400, 22 * 3600)


def test_no_pause_begins_while_an_outage_is_open(
    do: Do, time: Clock, session: Session, settings: Settings, token: AccessToken
) -> None:
    outage = Outage(opened_at=time(), last_failed_at=time())
    session.add(outage)
    session.flush()
    with pytest.raises(PauseRefused, match="pause_refused_outage"):
        do("pause")
    time.advance(minutes=1)
    outage.last_failed_at = outage.closed_at = time()
    session.flush()
    assert do("pause").paused_at == time()


def test_fractions_of_a_second_never_add_up_to_extra_time(do: Do, time: Clock, token: AccessToken) -> None:
    time.advance(seconds=10, milliseconds=300)
    left = token.seconds_left(time())
    for _ in range(5):
        do("pause")
        time.advance(minutes=10, milliseconds=900)
        do("resume")
    assert token.paused_seconds == 3000
    assert left is not None
    assert left - 5 <= (token.seconds_left(time()) or 0) <= left


def test_a_paused_token_is_refunded_for_the_time_left_at_the_pauses_start(
    *, do: Do, time: Clock, session: Session, alice: User, settings: Settings, token: AccessToken
) -> None:
    time.advance(hours=12)
    do("pause")
    time.advance(days=2)
    _, refund = revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    assert refund == 9
    time.advance(days=40)
    assert token_pause.due(session) == []


def test_a_pause_ends_at_its_limit_before_any_job_has_run(
    *, do: Do, time: Clock, session: Session, alice: User, settings: Settings, token: AccessToken
) -> None:
    """A token's pauses last 30 days in all; at that limit its time runs on, whether or not the job has run."""
    time.advance(hours=12)
    do("pause")
    time.advance(days=30, hours=6)
    assert (token.state(time()), token.seconds_left(time())) == (TokenState.ACTIVE, 6 * 3600)
    assert token.expires_at == time() + timedelta(hours=6)
    assert revocation.refund_preview(session, token, settings).amount == Decimal("4.5")
    assert session.scalar(select(AccessToken.id).where(token_queries.is_running(time()))) == token.id
    [known] = token_lookup.find_by_id(session, [token.id]).values()
    assert (known.is_paused(time()), known.expires_at) == (False, token.expires_at)
    with pytest.raises(PauseRefused, match="pause_refused_used_up"):
        do("pause")
    assert (
        sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM).ended_at is None
    )
    time.advance(hours=6)
    assert token.state(time()) is TokenState.EXPIRED
    assert not session.scalar(select(token_queries.has_not_ended()).where(AccessToken.id == token.id))
    facts = {"hours": 1, "key": some_id(), "settings": settings, "actor": PLATFORM}
    for refused in (
        lambda: revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM),
        lambda: extension.extend(session, alice, token.id, **facts),  # type: ignore[arg-type]
        lambda: renewal.set_auto_renew(session, alice, token.id, on=True, settings=settings, actor=PLATFORM),
    ):
        with pytest.raises(TokenEnded):
            refused()
    with pytest.raises(TokenUnusable, match="expired"):
        do("resume")


def test_a_later_change_of_the_limit_does_not_affect_a_pause(
    do: Do, time: Clock, session: Session, token: AccessToken, settings: Settings
) -> None:
    do("pause", in_all_days=2)
    assert token_pause.preview(session, token, settings).latest_end == time() + timedelta(days=2)
    time.advance(days=3)
    assert token.state(time()) is TokenState.EXPIRED


def test_a_pause_after_one_that_reached_its_limit_counts_on_from_it(
    do: Do, time: Clock, session: Session, token: AccessToken
) -> None:
    do("pause", in_all_days=1)
    time.advance(days=1, hours=1)
    do("pause")
    ended = session.scalars(select(TokenPause).where(TokenPause.ended_at.is_not(None))).one()
    assert ended.ended_at == time() - timedelta(hours=1)
    assert (token.paused_seconds, token.pause_limit_seconds) == (86400, 29 * 86400)
    assert token.seconds_left(time()) == 23 * 3600

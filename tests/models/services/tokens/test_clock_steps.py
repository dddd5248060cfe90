"""Wall clock set back: used time does not return, whatever the owner does then."""

import uuid

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.proxy_sessions import ProxySession
from models.services.actor import PLATFORM
from models.services.errors import TokenEnded, TokenUnusable
from models.services.gateway import sessions, usage_counts
from models.services.gateway.usage_counts import SessionCounts
from models.services.tokens import extension, revocation
from models.services.tokens import pause as token_pause
from models.users import User
from tests.conftest import Clock
from tests.factories import balance, buy


def used(session: Session, token: AccessToken, settings: Settings, time: Clock) -> ProxySession:
    """Use a token now."""
    held = sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
    usage_counts.add_counts(session, [SessionCounts(held.id, 1, 0, 0, time())])
    session.expire_all()
    return held


@pytest.fixture
def token(session: Session, alice: User, settings: Settings, time: Clock) -> AccessToken:
    """A 24-hour token for 18 ZNC, used for 22 hours before the clock was set back by 20."""
    bought = buy(session, alice, settings)
    used(session, bought, settings, time)
    time.advance(hours=22)
    used(session, bought, settings, time)
    time.advance(hours=-20)
    return bought


def test_a_refund_after_the_clock_was_set_back_pays_for_the_time_that_was_left(
    session: Session, alice: User, settings: Settings, token: AccessToken
) -> None:
    # 18 ZNC x 2 h / 24 h.
    assert revocation.refund_preview(session, token, settings).used_seconds == 22 * 3600
    _token, refund = revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    assert (str(refund), balance(session, alice)) == ("1.50", 100 - 18 + refund)


def test_a_pause_after_the_clock_was_set_back_keeps_the_used_time(
    session: Session, alice: User, settings: Settings, time: Clock, token: AccessToken
) -> None:
    token_pause.pause(session, alice, token.id, settings=settings, actor=PLATFORM)
    assert revocation.refund_preview(session, token, settings).used_seconds == 22 * 3600
    time.advance(hours=20, minutes=30)
    token_pause.resume(session, alice, token.id, settings=settings, actor=PLATFORM)
    assert token.used_seconds(time()) == 22 * 3600
    assert revocation.refund_preview(session, token, settings).used_seconds == 22 * 3600


def test_other_sessions_activity_counts_as_known_time(
    session: Session, alice: User, bob: User, settings: Settings, time: Clock
) -> None:
    mine, theirs = buy(session, alice, settings), buy(session, bob, settings)
    used(session, mine, settings, time)
    time.advance(hours=22)
    used(session, theirs, settings, time)
    time.advance(hours=-20)
    assert revocation.refund_preview(session, mine, settings).used_seconds == 22 * 3600
    # A worker's clock that is some seconds fast reduces nobody's refund.
    time.advance(hours=20, seconds=-30)
    assert revocation.refund_preview(session, mine, settings).used_seconds == 22 * 3600 - 30


def test_a_token_that_has_expired_stays_so_for_its_owner(
    *, session: Session, alice: User, settings: Settings, time: Clock, token: AccessToken
) -> None:
    time.advance(hours=23)
    usage_counts.add_counts(session, [SessionCounts(session.scalars(select(ProxySession.id)).one(), 1, 0, 0, time())])
    session.expire_all()
    time.advance(hours=-10)
    facts = {"settings": settings, "actor": PLATFORM}
    with pytest.raises(TokenEnded):
        revocation.revoke(session, alice, token.id, **facts)
    with pytest.raises(TokenEnded):
        extension.extend(session, alice, token.id, hours=1, key=uuid.uuid4(), **facts)
    with pytest.raises(TokenUnusable):
        token_pause.pause(session, alice, token.id, **facts)
    assert revocation.refund_preview(session, token, settings).amount == 0


def test_an_unused_token_is_refunded_in_full(
    session: Session, alice: User, settings: Settings, time: Clock, token: AccessToken
) -> None:
    fresh = buy(session, alice, settings)
    time.advance(hours=-30)
    assert revocation.refund_preview(session, fresh, settings).amount == 18

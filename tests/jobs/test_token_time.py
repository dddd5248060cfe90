"""Token time jobs: one transaction per row, and a failing row does not block the others."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from jobs import mail, token_time
from models.access_tokens import AccessToken, TokenState
from models.config.settings import Settings
from models.database import Sessions
from models.outages import Outage
from models.services.actor import PLATFORM
from models.services.gateway import sessions
from models.services.notifications import outbox
from models.services.tokens import pause as token_pause
from models.services.tokens import queries as token_queries
from models.services.tokens import renewal
from models.users import User
from tests.conftest import Clock
from tests.factories import balance, buy, person

Shop = tuple[Settings, Sessions]


def begun(session: Session, owner: User, settings: Settings, *, hours: int = 24) -> AccessToken:
    token = buy(session, owner, settings, hours=hours, name="Laptop")
    sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
    return token


def now_of(shop: Shop, owner: User, token: AccessToken) -> AccessToken:
    with shop[1].begin() as session:
        return token_queries.lock_owned(session, owner, token.id)


def test_a_pause_at_its_limit_is_ended(shop: Shop, time: Clock) -> None:
    settings, factory = shop
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        token = begun(session, alice, settings)
        token_pause.pause(session, alice, token.id, settings=settings, actor=PLATFORM)
    assert token_time.end_pauses() == 0
    time.advance(days=30)
    assert token_time.end_pauses() == 1
    assert now_of(shop, alice, token).state(time()) is TokenState.ACTIVE


def test_owners_are_notified_and_their_tokens_renewed(shop: Shop, time: Clock) -> None:
    settings, factory = shop
    alice = person(factory, "alice", balance="36")
    with factory.begin() as session:
        token = begun(session, alice, settings)
        renewal.set_auto_renew(session, alice, token.id, on=True, settings=settings, actor=PLATFORM)
    time.advance(hours=12)
    assert (token_time.notify_renewals(), token_time.renew()) == (1, 0)
    time.advance(hours=11, minutes=56)
    assert (token_time.notify_renewals(), token_time.renew()) == (0, 1)
    time.advance(hours=12, minutes=4)
    assert token_time.notify_renewals() == 1
    time.advance(hours=11, minutes=56)
    assert token_time.renew() == 1
    with factory.begin() as session:
        assert balance(session, alice) == 0
        written = [mail.render(row, settings) for row in outbox.claim(session)]
    texts = {str(message["Subject"]): message.get_body(("plain",)) for message in written}
    mails = {subject: str(part.get_content()) for subject, part in texts.items() if part and "Laptop" in subject}
    assert list(mails) == [
        "Laptop will be renewed soon",
        "Laptop has been renewed",
        "Insufficient balance to renew Laptop",
        "Auto-renewal of Laptop has stopped",
    ]
    assert "Short by: 18.00 ZNC" in mails["Insufficient balance to renew Laptop"]
    assert all(f"/tokens/{token.id}" in text for text in mails.values())


def test_an_outage_is_credited_in_batches(shop: Shop, time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, factory = shop
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        tokens = [begun(session, alice, settings, hours=1) for _ in range(3)]
    start: datetime = time()
    time.advance(minutes=20)
    with factory.begin() as session:
        session.add(Outage(opened_at=start, last_failed_at=time(), closed_at=time()))
    monkeypatch.setattr(token_time, "BATCH_SIZE", 2)
    assert (token_time.credit_outages(), token_time.credit_outages()) == (3, 0)
    for token in tokens:
        assert now_of(shop, alice, token).expires_at == start + timedelta(hours=1, minutes=20)

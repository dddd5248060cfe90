"""Mail outbox: enqueued with the cause, claimed by one sender at a time, retried until it fails permanently."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.database import Sessions
from models.outbox import OutboxMail
from models.services.notifications import outbox
from models.users import User
from tests.conftest import Clock
from tests.factories import person, race


@pytest.fixture
def empty(session: Session, alice: User) -> User:
    """Alice, without the welcome mail."""
    session.execute(delete(OutboxMail))
    return alice


def write(session: Session, user: User, *keys: str, **context: Any) -> None:
    """Enqueue a welcome mail under each key."""
    for key in keys:
        outbox.enqueue_mail(session, "welcome", user, dedup_key=key, username=user.username, **context)


def test_a_mail_is_written_once_for_each_key(session: Session, empty: User) -> None:
    write(session, empty, "a", "b", "a")
    mails = session.scalars(select(OutboxMail)).all()
    assert sorted(mail.dedup_key for mail in mails) == ["a", "b"]
    assert {mail.recipient for mail in mails} == {empty.email}


def test_a_claimed_mail_is_not_claimed_again_until_its_lease_ends(session: Session, empty: User, time: Clock) -> None:
    write(session, empty, "a")
    time.advance(minutes=1)
    (mail,) = outbox.claim(session)
    assert mail.attempts == 1
    assert outbox.claim(session) == []
    time.advance(minutes=5)
    assert [again.attempts for again in outbox.claim(session)] == [2]


def test_no_more_are_claimed_than_asked_for(session: Session, empty: User, time: Clock) -> None:
    write(session, empty, *"abcde")
    time.advance(minutes=1)
    assert [len(outbox.claim(session, limit=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_a_mail_deleted_before_it_is_marked_stays_deleted(session: Session, empty: User, time: Clock) -> None:
    write(session, empty, "a", "b")
    time.advance(minutes=1)
    sent, refused = outbox.claim(session)
    session.commit()
    # What the deletion of an account does, in a transaction of its own.
    session.execute(delete(OutboxMail).execution_options(synchronize_session=False))
    outbox.mark_sent(session, sent.id)
    outbox.mark_failed(session, refused.id, "no such reader")
    session.flush()
    assert session.scalars(select(OutboxMail.id)).all() == []


def test_a_sent_mail_is_done(session: Session, empty: User, time: Clock) -> None:
    write(session, empty, "a")
    time.advance(minutes=1)
    (mail,) = outbox.claim(session)
    outbox.mark_sent(session, mail.id)
    assert mail.sent_at == time()
    time.advance(days=1)
    assert outbox.claim(session) == []


def test_a_failed_mail_is_retried_with_doubled_delay_and_fails_permanently(
    session: Session, empty: User, time: Clock
) -> None:
    write(session, empty, "a")
    time.advance(minutes=1)
    waits = []
    for _ in range(outbox.ATTEMPTS):
        (mail,) = outbox.claim(session)
        outbox.mark_failed(session, mail.id, "no route " * 100)
        if mail.failed_at is None:
            waits.append(mail.next_attempt_at - time())
            time.moment = mail.next_attempt_at - timedelta(seconds=1)
            assert outbox.claim(session) == []
            time.advance(seconds=1)
    assert waits == [timedelta(minutes=2**n) for n in range(1, outbox.ATTEMPTS)]
    assert (mail.failed_at, mail.attempts) == (time(), outbox.ATTEMPTS)
    assert mail.last_error is not None
    assert len(mail.last_error) == 300
    time.advance(days=365)
    assert outbox.claim(session) == []


def test_two_concurrent_senders_never_claim_the_same_mail(committed: tuple[Settings, Sessions]) -> None:
    _settings, factory = committed
    alice = person(factory, "alice")
    with factory.begin() as session:
        session.execute(delete(OutboxMail))
        write(session, alice, *(str(number) for number in range(40)))

    def claim() -> set[str]:
        with factory.begin() as session:
            return {mail.dedup_key for mail in outbox.claim(session, limit=15)}

    first, second = race(claim, claim)
    assert not first & second
    assert len(first | second) == 30


def test_a_sender_does_not_wait_for_another(committed: tuple[Settings, Sessions]) -> None:
    _settings, factory = committed
    person(factory, "alice")
    with factory.begin() as slow, factory.begin() as quick:
        assert len(outbox.claim(slow)) == 1
        assert outbox.claim(quick) == []

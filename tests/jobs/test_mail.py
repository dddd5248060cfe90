"""Waiting mails are sent once, with nothing in them that a user could smuggle in, and tried again on failure."""

import logging
from collections.abc import Callable, Iterator
from email import message_from_string, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from jobs import mail, runtime
from models.config import Settings
from models.database import Sessions
from models.outbox import OutboxMail
from models.sections import Mail
from models.services import outbox
from models.users import User
from tests.jobs import smtp_sink
from tests.jobs.smtp_sink import Sink

Committed = tuple[Settings, Sessions]
Run = Callable[[Callable[..., Any]], Any]


@pytest.fixture
def sink() -> Iterator[Sink]:
    with smtp_sink.running() as sink:
        yield sink


@pytest.fixture
def sending(shop: Committed, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Sink:
    """SMTP is configured, and leads to the sink."""
    configure(monkeypatch, shop[0], smtp_host="127.0.0.1", smtp_port=sink.port, smtp_starttls=False)
    return sink


def configure(monkeypatch: pytest.MonkeyPatch, settings: Settings, **mail_settings: Any) -> None:
    """Give the jobs other settings for mail."""
    changed = settings.model_copy(update={"mail": Mail(sender="Shop <shop@example.test>", **mail_settings)})
    monkeypatch.setattr(runtime, "settings", lambda: changed)


def write(run: Run, user: User, key: str, kind: str = "welcome", **context: Any) -> None:
    """Leave a mail in the outbox."""
    run(lambda s: outbox.write(s, kind, user, dedup_key=key, **{"username": user.username, **context}))


def due_again(run: Run) -> None:
    """Let the wait for the next attempt be over."""
    run(lambda s: s.execute(update(OutboxMail).values(next_attempt_at=OutboxMail.created_at)))


def dies(*_arguments: Any, **_named: Any) -> None:
    """Stand for a process that is killed here."""
    raise SystemExit


def only(run: Run) -> OutboxMail:
    """Return the one mail there is."""
    return run(lambda s: s.scalars(select(OutboxMail)).one())


def test_without_a_mail_server_mails_are_written_to_the_log(
    shop: Committed, buyer: User, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "jobs.mail"):
        assert mail.send_waiting() == 1
    assert "mail: To alice@example.test: Welcome to Zenzefi" in caplog.messages
    assert only(run).sent_at is not None


def test_a_mail_is_sent_once(sending: Sink, buyer: User, run: Run) -> None:
    assert [mail.send_waiting() for _ in range(2)] == [1, 0]
    due_again(run)
    assert mail.send_waiting() == 0
    ((recipients, raw),) = sending.envelopes
    message = message_from_string(raw, policy=policy.default)
    assert recipients == ["alice@example.test"]
    assert (message["From"], message["To"]) == ("Shop <shop@example.test>", "alice@example.test")
    assert message["Subject"] == "Welcome to Zenzefi"
    assert message["Message-ID"] == f"<{only(run).id}@zenzefi>"
    assert "Hello alice," in raw


@pytest.mark.parametrize("kind", sorted(path.stem for path in mail.TEMPLATES.glob("*.txt")))
def test_every_template_makes_a_mail_with_a_subject_and_no_leftovers(settings: Settings, kind: str) -> None:
    token = {"token_id": "1", "name": "Laptop", "hours": 24, "ends": "2026-11-30 12:00 UTC", "reason": "balance"}
    money = {"amount_znc": "50.00", "amount_rub": "500.00", "price": "18.00", "balance": "20.00", "short": None}
    context = {"username": "alice", **money, **token, "faults": {"A rule": ["a row"]}}
    message = mail.render(OutboxMail(kind=kind, recipient="alice@example.test", context=context), settings)
    assert message["Subject"]
    assert "\n" not in message["Subject"]
    text = message.get_content()
    assert "alice" in text
    assert settings.portal.address in text
    assert not {"{{", "}}", "None"} & set(text.split())


def test_nothing_that_a_user_typed_becomes_a_header(settings: Settings) -> None:
    evil = "x\r\nBcc: everybody@example.test\r\n\r\nfree money"
    context = {"username": evil, "amount_znc": evil, "amount_rub": evil}
    for kind in ("welcome", "payment"):
        message = mail.render(OutboxMail(kind=kind, recipient="alice@example.test", context=context), settings)
        read: EmailMessage = message_from_string(message.as_string(), policy=policy.default)
        assert set(read.keys()) == {"From", "To", "Subject", "Message-ID", "MIME-Version", "Content-Type"} | (
            set(read.keys()) & {"Content-Transfer-Encoding"}
        )
        assert read["To"].addresses[0].addr_spec == "alice@example.test"
        assert len(read["To"].addresses) == 1


def test_a_recipient_with_a_line_end_is_never_sent_to(sending: Sink, buyer: User, run: Run) -> None:
    run(lambda s: s.execute(update(OutboxMail).values(recipient="alice@example.test\nBcc: x@example.test")))
    assert mail.send_waiting() == 0
    assert sending.envelopes == []
    assert only(run).last_error


def test_text_is_sent_as_it_was_written(sending: Sink, buyer: User, run: Run) -> None:
    run(lambda s: s.execute(delete(OutboxMail)))
    write(run, buyer, "unicode", username="Жанна <b>& Co</b>")
    assert mail.send_waiting() == 1
    message = message_from_string(sending.envelopes[0][1], policy=policy.default)
    assert "Hello Жанна <b>& Co</b>," in message.get_content()


def test_a_mail_that_is_refused_is_tried_again_later(sending: Sink, buyer: User, run: Run) -> None:
    sending.refuse = "RCPT"
    assert [mail.send_waiting() for _ in range(2)] == [0, 0]
    failed = only(run)
    assert (failed.attempts, failed.sent_at, failed.failed_at) == (1, None, None)
    assert failed.last_error
    sending.refuse, failed = "", only(run)
    due_again(run)
    assert mail.send_waiting() == 1
    assert only(run).attempts == 2


def test_a_mail_server_that_is_away_loses_nothing(
    shop: Committed, buyer: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, shop[0], smtp_host="127.0.0.1", smtp_port=1, smtp_starttls=False)
    assert mail.send_waiting() == 0
    assert only(run).sent_at is None


def test_nothing_is_sent_in_the_clear_when_starttls_is_wanted(
    shop: Committed, sink: Sink, buyer: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, shop[0], smtp_host="127.0.0.1", smtp_port=sink.port, smtp_starttls=True)
    assert mail.send_waiting() == 0
    assert sink.envelopes == []
    assert only(run).last_error


@pytest.mark.parametrize("kind", ["nothing of that name", "payment", "../mail/welcome"])
def test_a_mail_that_cannot_be_written_keeps_no_other_waiting(sending: Sink, buyer: User, run: Run, kind: str) -> None:
    run(lambda s: s.execute(delete(OutboxMail)))
    context = {"amount_znc": "1"} if kind == "payment" else {}
    write(run, buyer, "broken", kind, **context)
    write(run, buyer, "sound")
    run(lambda s: s.execute(update(OutboxMail).where(OutboxMail.dedup_key == "sound").values(next_attempt_at="now")))
    assert mail.send_waiting() == 1
    broken = run(lambda s: s.scalars(select(OutboxMail).where(OutboxMail.dedup_key == "broken")).one())
    assert (broken.sent_at, broken.attempts) == (None, 1)
    assert broken.last_error


def test_a_sender_that_dies_before_marking_sends_again_when_the_lease_ends(
    sending: Sink, buyer: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(mail, "_deliver", dies)
        with pytest.raises(SystemExit):
            mail.send_waiting()
    assert mail.send_waiting() == 0
    due_again(run)
    assert mail.send_waiting() == 1
    assert len(sending.envelopes) == 1


def test_mails_are_plain_text_files_with_a_subject_line() -> None:
    for path in Path(mail.TEMPLATES).glob("*.txt"):
        subject, blank, *_body = path.read_text().splitlines()
        assert subject
        assert blank == ""

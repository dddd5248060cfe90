"""Pending mails are sent once, without header or markup injection, and retried on failure."""

import logging
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from email import message_from_bytes, message_from_string, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

import pytest
from redis import Redis
from sqlalchemy import delete, select, update

from jobs import context as jobs_context
from jobs import mail
from models import clock
from models.config.operations import Mail
from models.config.settings import Settings
from models.database import Sessions
from models.metrics import audit_counters
from models.outbox import OutboxMail
from models.services.notifications import mail_rendering, mail_samples, outbox
from models.translations import LANGUAGES
from models.users import User
from tests.certificates import issue
from tests.jobs import fake_smtp_server
from tests.jobs.fake_smtp_server import Sink

Committed = tuple[Settings, Sessions]
Run = Callable[[Callable[..., Any]], Any]


@pytest.fixture
def sink() -> Iterator[Sink]:
    with fake_smtp_server.running() as sink:
        yield sink


@pytest.fixture
def sending(shop: Committed, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Sink:
    """SMTP is configured and leads to the sink."""
    configure(monkeypatch, shop[0], smtp_host="127.0.0.1", smtp_port=sink.port, smtp_starttls=False)
    return sink


def configure(monkeypatch: pytest.MonkeyPatch, settings: Settings, **mail_settings: Any) -> None:
    """Give the jobs other mail settings."""
    changed = settings.model_copy(update={"mail": Mail(sender="Shop <shop@example.test>", **mail_settings)})
    monkeypatch.setattr(jobs_context, "settings", lambda: changed)


def write(run: Run, user: User, key: str, kind: str = "welcome", **context: Any) -> None:
    """Enqueue a mail."""
    run(lambda s: outbox.enqueue_mail(s, kind, user, dedup_key=key, **{"username": user.username, **context}))


def letter(kind: str, *, language: str = "en", **context: Any) -> OutboxMail:
    """A mail that is not in the database."""
    user = User(id=uuid.UUID(int=1), language=language)
    return OutboxMail(kind=kind, recipient="alice@example.test", context=context, user=user)


def content(message: EmailMessage, subtype: Literal["plain", "html"] = "plain") -> str:
    """Return the text, or the HTML, as its reader sees it."""
    part = message.get_body((subtype,))
    assert part is not None
    return str(part.get_content())


def make_due(run: Run) -> None:
    """Make the next attempt due."""
    run(lambda s: s.execute(update(OutboxMail).values(next_attempt_at=OutboxMail.created_at)))


def kill(*_arguments: Any, **_named: Any) -> None:
    """Stand in for a process that is killed here."""
    raise SystemExit


def only(run: Run) -> OutboxMail:
    """Return the only mail."""
    return run(lambda s: s.scalars(select(OutboxMail)).one())


def test_without_a_mail_server_mails_are_written_to_the_log(
    shop: Committed, buyer: User, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "jobs.mail"):
        assert mail.send_pending() == 1
    assert "mail: To alice@example.test: Welcome to Zenzefi" in caplog.messages
    assert only(run).sent_at is not None


def test_a_mail_is_sent_once(sending: Sink, buyer: User, run: Run) -> None:
    assert [mail.send_pending() for _ in range(2)] == [1, 0]
    make_due(run)
    assert mail.send_pending() == 0
    ((recipients, raw),) = sending.envelopes
    message = message_from_string(raw, policy=policy.default)
    assert recipients == ["alice@example.test"]
    assert (message["From"], message["To"]) == ("Shop <shop@example.test>", "alice@example.test")
    assert message["Subject"] == "Welcome to Zenzefi"
    assert message["Message-ID"] == f"<{only(run).id}@example.test>"
    assert abs(message["Date"].datetime - clock.now()) < timedelta(minutes=1)
    assert "Hello alice," in raw


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", mail_rendering.kinds())
def test_every_kind_makes_a_mail_in_every_language_with_no_leftovers(
    settings: Settings, kind: str, language: str
) -> None:
    message = mail.render(letter(kind, language=language, **mail_samples.sample_context(kind)), settings)
    assert message["Subject"]
    assert "\n" not in message["Subject"]
    for subtype in ("plain", "html"):
        text = content(message, subtype)
        assert "alice" in text
        assert settings.portal.address in text
        assert not {"{{", "}}", "{%", "None"} & set(text.split())
        assert "%(" not in text
        assert ("Hello" in text) is (language == "en")


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("renewal_ahead", {"price": None}),
        ("renewal_ahead", {"short": None}),
        ("renewal_stopped", {"reason": "late"}),
        ("renewal_stopped", {"reason": "price"}),
        ("renewal_price", {"told": None}),
        ("renewal_stopped", {"reason": "not_for_sale"}),
        ("renewal_stopped", {"reason": "disabled"}),
    ],
)
def test_every_variant_of_a_mail_can_be_rendered(settings: Settings, kind: str, facts: dict[str, Any]) -> None:
    message = mail.render(letter(kind, **{**mail_samples.sample_context(kind), **facts}), settings)
    assert "Laptop" in message["Subject"]
    assert "Laptop" in content(message, "html")


def test_a_kind_that_is_still_a_plain_text_file_is_sent_as_it_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(mail_rendering.TEMPLATES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "plain.txt").write_text("For {{ username }}\n\nHello {{ username }}, see {{ portal_url }}\n")
    monkeypatch.setattr(mail_rendering, "TEMPLATES", tmp_path)
    mail_rendering._environment.cache_clear()
    try:
        message = mail.render(letter("plain", username="<b>"), settings)
        assert "plain" in mail_rendering.kinds()
    finally:
        mail_rendering._environment.cache_clear()
    assert (message["Subject"], message.is_multipart()) == ("For <b>", False)
    assert message.get_content() == f"Hello <b>, see {settings.portal.address}\n"


def test_numbers_and_times_are_written_as_the_readers_language_does(settings: Settings) -> None:
    facts = mail_samples.sample_context("renewed") | {"price": "1300.5"}
    english, russian = (content(mail.render(letter("renewed", language=it, **facts), settings)) for it in LANGUAGES)
    assert "1,300.50 ZNC" in english
    assert "30 Nov 2026, 12:00 UTC" in english
    assert "1 day" in english
    assert "1\xa0300,50 ZNC" in russian
    assert "30 нояб. 2026" in russian
    assert "1 день" in russian


def test_nothing_that_a_user_typed_becomes_a_header_or_markup(settings: Settings) -> None:
    evil = "x\r\nBcc: everybody@example.test\r\n\r\n<script>alert(1)</script><a href='//evil'>free</a>"
    for kind in set(mail_rendering.kinds()) - {"ledger_fault"}:
        message = mail.render(
            letter(kind, **{**mail_samples.sample_context(kind), "username": evil, "name": evil, "reason": evil}),
            settings,
        )
        read: EmailMessage = message_from_string(message.as_string(), policy=policy.default)
        assert {"From", "To", "Date", "Subject", "Message-ID", "MIME-Version"} <= set(read.keys())
        assert set(read.keys()) - {"From", "To", "Date", "Subject", "Message-ID", "MIME-Version", "Content-Type"} <= {
            "Content-Transfer-Encoding",
            "List-Unsubscribe",
            "List-Unsubscribe-Post",
            "Auto-Submitted",
        }
        assert [address.addr_spec for address in read["To"].addresses] == ["alice@example.test"]
        assert "<script" not in content(read, "html")
        assert "<a href='" not in content(read, "html")


def test_a_mail_can_be_unsubscribed_from_with_one_click_unless_it_is_mandatory(settings: Settings) -> None:
    optional = mail.render(letter("renewed", **mail_samples.sample_context("renewed")), settings)
    link = optional["List-Unsubscribe"].strip("<>")
    assert link.startswith(f"{settings.portal.address}/unsubscribe/")
    assert optional["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    for subtype in ("plain", "html"):
        assert link in content(optional, subtype)
    for kind in ("welcome", "payment", "money_back", "token_revoked"):
        must = mail.render(letter(kind, **mail_samples.sample_context(kind)), settings)
        assert must["List-Unsubscribe"] is None
        assert "unsubscribe" not in content(must, "html")


def test_a_mail_to_a_deleted_user_can_be_rendered(settings: Settings) -> None:
    orphan = OutboxMail(kind="renewed", recipient="alice@example.test", context=mail_samples.sample_context("renewed"))
    assert mail.render(orphan, settings)["List-Unsubscribe"] is None


def test_a_recipient_with_a_line_end_is_never_sent_to(sending: Sink, buyer: User, run: Run) -> None:
    run(lambda s: s.execute(update(OutboxMail).values(recipient="alice@example.test\nBcc: x@example.test")))
    assert mail.send_pending() == 0
    assert sending.envelopes == []
    assert only(run).last_error


def test_text_is_sent_as_it_was_written(sending: Sink, buyer: User, run: Run) -> None:
    run(lambda s: s.execute(delete(OutboxMail)))
    write(run, buyer, "unicode", username="Жанна <b>& Co</b>")
    assert mail.send_pending() == 1
    message = message_from_bytes(sending.envelopes[0][1].encode(), policy=policy.default)
    assert "Hello Жанна <b>& Co</b>," in content(message)
    assert "Hello Жанна &lt;b&gt;&amp; Co&lt;/b&gt;," in content(message, "html")


def test_a_refused_mail_is_retried_later_and_both_attempts_are_counted(
    sending: Sink, buyer: User, run: Run, redis: Redis
) -> None:
    sending.refuse, sending.refusal = "RCPT", "450 4.2.1 busy"
    assert [mail.send_pending() for _ in range(2)] == [0, 0]
    failed = only(run)
    assert (failed.attempts, failed.sent_at, failed.failed_at) == (1, None, None)
    assert failed.last_error == "450 4.2.1 busy"
    sending.refuse, failed = "", only(run)
    make_due(run)
    assert mail.send_pending() == 1
    assert only(run).attempts == 2
    for result in ("sent", "failed"):
        assert redis.hget(audit_counters.TOTALS_KEY, f"notices_sent|mail|{result}") == b"1"


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_a_permanently_refused_mail_is_not_sent_again(sending: Sink, buyer: User, run: Run, command: str) -> None:
    """RFC 5321 4.2.1: after a 5yz reply the client does not repeat the request."""
    sending.refuse, sending.refusal = command, "550 5.1.1 no such user"
    assert mail.send_pending() == 0
    make_due(run)
    assert (mail.send_pending(), only(run).attempts) == (0, 1)
    assert only(run).failed_at is not None
    assert only(run).last_error == "550 5.1.1 no such user"


def test_a_refused_login_does_not_fail_the_mails(
    shop: Committed, sink: Sink, buyer: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(run, buyer, "another")
    login = {"smtp_user": "shop", "smtp_password": "wrong", "smtp_security": "none"}
    configure(monkeypatch, shop[0], smtp_host="127.0.0.1", smtp_port=sink.port, **login)
    sink.refuse, sink.refusal = "AUTH", "535 5.7.8 bad credentials"
    assert mail.send_pending() == 0
    rows = run(lambda s: s.execute(select(OutboxMail.attempts, OutboxMail.failed_at)).all())
    assert sorted(row.attempts for row in rows) == [0, 1]
    assert {row.failed_at for row in rows} == {None}


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_is_encrypted_by_starttls_or_from_the_first_byte(
    shop: Committed, buyer: User, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, security: str
) -> None:
    """RFC 3207 and RFC 8314."""
    certificate = issue(tmp_path, "mail", "localhost")
    with fake_smtp_server.running(certificate=certificate, begins_with_tls=security == "tls") as sink:
        configure(monkeypatch, shop[0], smtp_host="127.0.0.1", smtp_port=sink.port, smtp_security=security)
        # The certificate's issuer is not trusted yet.
        assert mail.send_pending() == 0
        assert sink.envelopes == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        make_due(run)
        assert mail.send_pending() == 1
        assert len(sink.envelopes) == 1


@pytest.mark.parametrize(("given", "security"), [({}, "starttls"), ({"smtp_starttls": False}, "none")])
def test_the_older_setting_for_starttls_still_counts(given: dict[str, bool], security: str) -> None:
    assert Mail(**given).security == security  # type: ignore[arg-type]


def test_only_announcements_are_not_marked_as_auto_generated(settings: Settings) -> None:
    """RFC 3834 5: Auto-Submitted."""
    marked = {
        kind: mail.render(letter(kind, **mail_samples.sample_context(kind)), settings)["Auto-Submitted"]
        for kind in mail_rendering.kinds()
    }
    assert marked.pop("announcement") is None
    assert set(marked.values()) == {"auto-generated"}


def test_domains_beyond_ascii_are_sent_as_a_labels(
    sending: Sink, shop: Committed, buyer: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 5891 4.4: a server without SMTPUTF8 takes them; only the part before the @ needs that."""
    run(lambda s: s.execute(update(OutboxMail).values(recipient="alice@почта.пример.рф")))
    configured = jobs_context.settings().mail.model_copy(update={"sender": "Магазин <shop@пример.рф>"})
    changed = shop[0].model_copy(update={"mail": configured})
    monkeypatch.setattr(jobs_context, "settings", lambda: changed)
    assert mail.send_pending() == 1
    ((recipients, raw),) = sending.envelopes
    message = message_from_string(raw, policy=policy.default)
    assert recipients == ["alice@xn--80a1acny.xn--e1afmkfd.xn--p1ai"]
    assert message["From"] == "Магазин <shop@xn--e1afmkfd.xn--p1ai>"
    assert message["Message-ID"].endswith("@xn--e1afmkfd.xn--p1ai>")


def test_an_unreachable_mail_server_loses_nothing(
    shop: Committed, buyer: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, shop[0], smtp_host="127.0.0.1", smtp_port=1, smtp_starttls=False)
    assert mail.send_pending() == 0
    assert only(run).sent_at is None


def test_an_unreachable_server_uses_up_no_attempt(
    shop: Committed, buyer: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write(run, buyer, f"more {number}")
    configure(monkeypatch, shop[0], smtp_host="127.0.0.1", smtp_port=1, smtp_starttls=False)
    for tried in (1, 2):
        assert mail.send_pending() == 0
        assert sum(run(lambda s: list(s.scalars(select(OutboxMail.attempts))))) == tried
        make_due(run)


def test_nothing_is_sent_in_the_clear_when_starttls_is_wanted(
    shop: Committed, sink: Sink, buyer: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, shop[0], smtp_host="127.0.0.1", smtp_port=sink.port, smtp_starttls=True)
    assert mail.send_pending() == 0
    assert sink.envelopes == []
    assert only(run).last_error


@pytest.mark.parametrize("kind", ["nothing of that name", "payment", "../mail/welcome"])
def test_a_mail_that_cannot_be_rendered_does_not_block_others(sending: Sink, buyer: User, run: Run, kind: str) -> None:
    run(lambda s: s.execute(delete(OutboxMail)))
    context = {"amount_znc": "1"} if kind == "payment" else {}
    write(run, buyer, "broken", kind, **context)
    write(run, buyer, "sound")
    run(lambda s: s.execute(update(OutboxMail).where(OutboxMail.dedup_key == "sound").values(next_attempt_at="now")))
    assert mail.send_pending() == 1
    broken = run(lambda s: s.scalars(select(OutboxMail).where(OutboxMail.dedup_key == "broken")).one())
    assert (broken.sent_at, broken.attempts) == (None, 1)
    assert broken.last_error


def test_a_sender_that_dies_before_marking_sends_again_when_the_lease_ends(
    sending: Sink, buyer: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(mail._SmtpSession, "deliver", kill)
        with pytest.raises(SystemExit):
            mail.send_pending()
    assert mail.send_pending() == 0
    make_due(run)
    assert mail.send_pending() == 1
    assert len(sending.envelopes) == 1

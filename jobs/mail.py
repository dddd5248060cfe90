"""Mail delivery job: sends the pending mails of the outbox over SMTP."""

import logging
import smtplib
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import idna
from jinja2 import TemplateError

from jobs import context, smtp
from models import clock
from models.config.settings import Settings
from models.outbox import OutboxMail
from models.services.accounts import email_links
from models.services.notifications import mail_rendering, outbox
from models.services.notifications import preferences as notification_preferences
from models.translations import DEFAULT

logger = logging.getLogger(__name__)

# One mail that cannot be rendered or is rejected must not block the others. RQ's job timeout is not among these errors.
UNSENDABLE = (OSError, smtplib.SMTPException, TemplateError, MessageError, ValueError, ArithmeticError, LookupError)
# No batch starts after this many seconds of a run.
RUN_SECONDS = 20.0
# Errors that would affect every other mail too: no answer, untrusted certificate, rejected login.
UNREACHABLE = (
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    ssl.SSLError,
    smtplib.SMTPServerDisconnected,
    smtplib.SMTPConnectError,
    smtplib.SMTPHeloError,
    smtplib.SMTPAuthenticationError,
)
# Announcements are written by admins; all other mails are generated.
WRITTEN_BY_ADMINS = frozenset({"announcement"})
TIMEOUT_SECONDS = 20


def send_pending() -> int:
    """Send pending mails batch by batch, each marked in its own transaction; return the number sent.

    The rest of a long queue is left to the next run, so that other jobs get their turn. After a crash between sending
    and marking, the mail is sent again when its lease ends, with the same Message-ID, by which mail clients recognise
    the duplicate. When the server is unreachable, the rest of the batch keeps its lease instead of timing out one by
    one.
    """
    settings, ends = context.settings(), time.monotonic() + RUN_SECONDS
    sent = 0
    with _smtp_session(settings) as connection, _counted() as results:
        while time.monotonic() < ends:
            with context.sessions().begin() as session:
                mails = outbox.claim(session)
            if not mails:
                break
            for position, mail in enumerate(mails, start=1):
                try:
                    connection.deliver(render(mail, settings))
                except UNSENDABLE as error:
                    logger.warning("mail %s was not sent: %s", mail.id, type(error).__name__)
                    results["notices_sent|mail|failed"] += 1
                    with context.sessions().begin() as session:
                        outbox.mark_failed(session, mail.id, smtp.describe(error), is_final=smtp.is_final(error))
                        if isinstance(error, UNREACHABLE):
                            outbox.release(session, [untried.id for untried in mails[position:]])
                    if isinstance(error, UNREACHABLE):
                        return sent
                else:
                    sent += 1
                    results["notices_sent|mail|sent"] += 1
                    with context.sessions().begin() as session:
                        outbox.mark_sent(session, mail.id)
    return sent


@contextmanager
def _counted() -> Iterator[Counter[str]]:
    """Yield a counter and add it to the metrics at the end of the run, also after an error."""
    results: Counter[str] = Counter()
    try:
        yield results
    finally:
        context.count(results)


def render(mail: OutboxMail, settings: Settings) -> EmailMessage:
    """Render the message in its recipient's current language."""
    portal = settings.portal
    unsubscribe_path = notification_preferences.unsubscribe_path(portal, mail.user.id, mail.kind) if mail.user else None
    rendered = mail_rendering.render(
        mail.kind,
        email_links.with_link_url(mail.context, settings),
        language=mail.user.language if mail.user else DEFAULT,
        portal_url=portal.address,
        unsubscribe_url=f"{portal.address}{unsubscribe_path}" if unsubscribe_path else None,
        time_zone=mail.user.time_zone if mail.user else None,
    )
    message = EmailMessage()
    sender = _with_ascii_domain(settings.mail.sender)
    message["From"] = sender
    message["To"] = _with_ascii_domain(mail.recipient)
    message["Subject"] = rendered.subject
    message["Date"] = format_datetime(clock.now())
    # RFC 5322 3.6.4: the right-hand side is a domain of the sender; the row's id makes the left-hand side unique.
    message["Message-ID"] = f"<{mail.id}@{parseaddr(sender)[1].rpartition('@')[2] or 'localhost'}>"
    if mail.kind not in WRITTEN_BY_ADMINS:
        # RFC 3834 5: prevents automatic replies.
        message["Auto-Submitted"] = "auto-generated"
    if unsubscribe_path:
        message["List-Unsubscribe"] = f"<{portal.address}{unsubscribe_path}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(rendered.text)
    if rendered.html is not None:
        message.add_alternative(rendered.html, subtype="html")
    return message


def _with_ascii_domain(address: str) -> str:
    """Encode an address's domain as A-labels (RFC 5891), which every mail server accepts. Raises ValueError."""
    front, at, domain = address.rpartition("@")
    if not at or domain.isascii():
        return address
    name, end = (domain[:-1], ">") if domain.endswith(">") else (domain, "")
    return f"{front}@{idna.encode(name, uts46=True).decode()}{end}"


class _SmtpSession:
    """One SMTP connection, opened for the first message and reopened after it broke."""

    def __init__(self, settings: Settings) -> None:
        self.mail = settings.mail
        self.server: smtplib.SMTP | None = None

    def deliver(self, message: EmailMessage) -> None:
        """Send one message; without a configured server, write it to the log."""
        if not self.mail.is_configured:
            text = message.get_body(("plain",)) or message
            for line in f"To {message['To']}: {message['Subject']}\n{text.get_content()}".splitlines():
                logger.info("mail: %s", line)
            return
        try:
            self._connected().send_message(message)
        except (OSError, smtplib.SMTPServerDisconnected):
            self.close()
            raise

    def _connected(self) -> smtplib.SMTP:
        if self.server is None:
            self.server = smtp.connect(self.mail, timeout=TIMEOUT_SECONDS)
        return self.server

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        server, self.server = self.server, None
        if server is not None:
            with suppress(OSError, smtplib.SMTPException):
                server.quit()
            server.close()


@contextmanager
def _smtp_session(settings: Settings) -> Iterator[_SmtpSession]:
    connection = _SmtpSession(settings)
    try:
        yield connection
    finally:
        connection.close()

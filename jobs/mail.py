"""Sending what waits in the outbox."""

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

# One mail that cannot be rendered or is not taken must not keep the others waiting. RQ's own timeout is none of these.
UNSENDABLE = (OSError, smtplib.SMTPException, TemplateError, MessageError, ValueError, ArithmeticError, LookupError)
# No batch begins later than this in a run.
RUN_SECONDS = 20.0
# What would happen to every other mail, too: a server that does not answer, cannot be trusted or refuses the login.
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
# Announcements are written by an admin; no person writes any other mail.
WRITTEN_BY_ADMINS = frozenset({"announcement"})
TIMEOUT_SECONDS = 20


def send_pending() -> int:
    """Send what waits, batch by batch, each mail marked in a transaction of its own; returns how many left.

    What is not done in a run's time is left to the next, so that other jobs come to their turn. A crash between sending
    and marking sends one mail twice, when its lease ends, under the same Message-ID, by which mail programs know it
    again; none is lost. When the server itself does not answer, the rest waits for its lease instead of for a time-out
    each.
    """
    settings, ends = context.settings(), time.monotonic() + RUN_SECONDS
    sent = 0
    with _smtp_session(settings) as postman, _counted() as results:
        while time.monotonic() < ends:
            with context.sessions().begin() as session:
                mails = outbox.claim(session)
            if not mails:
                break
            for place, mail in enumerate(mails, start=1):
                try:
                    postman.deliver(render(mail, settings))
                except UNSENDABLE as error:
                    logger.warning("mail %s was not taken: %s", mail.id, type(error).__name__)
                    results["notices_sent|mail|failed"] += 1
                    with context.sessions().begin() as session:
                        outbox.mark_failed(session, mail.id, smtp.describe(error), is_final=smtp.is_final(error))
                        if isinstance(error, UNREACHABLE):
                            outbox.release(session, [untried.id for untried in mails[place:]])
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
    """Hand on to the metrics what was counted in a run, however it ends."""
    results: Counter[str] = Counter()
    try:
        yield results
    finally:
        context.count(results)


def render(mail: OutboxMail, settings: Settings) -> EmailMessage:
    """Make the message, in the language that its reader has set by now."""
    portal = settings.portal
    way_out = notification_preferences.unsubscribe_path(portal, mail.user.id, mail.kind) if mail.user else None
    letter = mail_rendering.render(
        mail.kind,
        email_links.with_link_url(mail.context, settings),
        language=mail.user.language if mail.user else DEFAULT,
        portal_url=portal.address,
        unsubscribe_url=f"{portal.address}{way_out}" if way_out else None,
        time_zone=mail.user.time_zone if mail.user else None,
    )
    message = EmailMessage()
    sender = _with_ascii_domain(settings.mail.sender)
    message["From"] = sender
    message["To"] = _with_ascii_domain(mail.recipient)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(clock.now())
    # RFC 5322 3.6.4: the right-hand side is a domain of who made the message; the row's id makes it unique there.
    message["Message-ID"] = f"<{mail.id}@{parseaddr(sender)[1].rpartition('@')[2] or 'localhost'}>"
    if mail.kind not in WRITTEN_BY_ADMINS:
        # RFC 3834 5: no autoresponder answers it.
        message["Auto-Submitted"] = "auto-generated"
    if way_out:
        message["List-Unsubscribe"] = f"<{portal.address}{way_out}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(letter.text)
    if letter.html is not None:
        message.add_alternative(letter.html, subtype="html")
    return message


def _with_ascii_domain(address: str) -> str:
    """Write the domain of an address in A-labels (RFC 5891), which every mail server takes. Raises ValueError."""
    front, at, domain = address.rpartition("@")
    if not at or domain.isascii():
        return address
    name, end = (domain[:-1], ">") if domain.endswith(">") else (domain, "")
    return f"{front}@{idna.encode(name, uts46=True).decode()}{end}"


class _SmtpSession:
    """One conversation with the mail server, begun when there is something to say and again after it broke off."""

    def __init__(self, settings: Settings) -> None:
        self.mail = settings.mail
        self.server: smtplib.SMTP | None = None

    def deliver(self, message: EmailMessage) -> None:
        """Hand one message over; without a server it goes to the log."""
        if not self.mail.is_configured:
            text = message.get_body(("plain",)) or message
            for line in f"To {message['To']}: {message['Subject']}\n{text.get_content()}".splitlines():
                logger.info("mail: %s", line)
            return
        try:
            self._connected().send_message(message)
        except (OSError, smtplib.SMTPServerDisconnected):
            self.hang_up()
            raise

    def _connected(self) -> smtplib.SMTP:
        if self.server is None:
            self.server = smtp.connect(self.mail, timeout=TIMEOUT_SECONDS)
        return self.server

    def hang_up(self) -> None:
        """End the conversation, whatever state it is in."""
        server, self.server = self.server, None
        if server is not None:
            with suppress(OSError, smtplib.SMTPException):
                server.quit()
            server.close()


@contextmanager
def _smtp_session(settings: Settings) -> Iterator[_SmtpSession]:
    postman = _SmtpSession(settings)
    try:
        yield postman
    finally:
        postman.hang_up()

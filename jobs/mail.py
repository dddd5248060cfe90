"""Sending what waits in the outbox."""

import logging
import smtplib
import socket
from email.errors import MessageError
from email.message import EmailMessage
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from jobs import runtime
from models.config import Settings
from models.outbox import OutboxMail
from models.services import outbox

logger = logging.getLogger(__name__)

TEMPLATES = Path(__file__).resolve().parent.parent / "templates" / "mail"
# One mail that cannot be rendered or is not taken must not keep the others waiting. RQ's own timeout is none of these.
UNSENDABLE = (OSError, smtplib.SMTPException, TemplateError, MessageError, ValueError, LookupError)
UNREACHABLE = (ConnectionError, TimeoutError, socket.gaierror, smtplib.SMTPServerDisconnected)
# Plain text, so nothing is escaped: what a user typed stays text by the format itself.
_environment = Environment(
    loader=FileSystemLoader(TEMPLATES),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701
)


def send_waiting() -> int:
    """Send every waiting mail, each marked in a transaction of its own; returns how many left.

    A crash between sending and marking sends one mail twice, when its lease ends; none is lost. When the server
    itself does not answer, the rest waits for its lease instead of for one time-out each.
    """
    with runtime.sessions().begin() as session:
        mails = outbox.claim(session)
    sent = 0
    for mail in mails:
        try:
            _deliver(render(mail, runtime.settings()), runtime.settings())
        except UNSENDABLE as error:
            logger.warning("mail %s was not taken: %s", mail.id, type(error).__name__)
            with runtime.sessions().begin() as session:
                outbox.mark_failed(session, mail.id, str(error))
            if isinstance(error, UNREACHABLE):
                break
        else:
            sent += 1
            with runtime.sessions().begin() as session:
                outbox.mark_sent(session, mail.id)
    return sent


def render(mail: OutboxMail, settings: Settings) -> EmailMessage:
    """Make the message: the template's first line is the subject, the rest after a blank line is the body."""
    text = _environment.get_template(f"{mail.kind}.txt").render(mail.context, portal_url=settings.portal.address)
    subject, _, body = text.partition("\n\n")
    message = EmailMessage()
    message["From"] = settings.mail.sender
    message["To"] = mail.recipient
    message["Subject"] = " ".join(subject.split())
    message["Message-ID"] = f"<{mail.id}@zenzefi>"
    message.set_content(body)
    return message


def _deliver(message: EmailMessage, settings: Settings) -> None:
    mail = settings.mail
    if not mail.is_configured:
        for line in f"To {message['To']}: {message['Subject']}\n{message.get_content()}".splitlines():
            logger.info("mail: %s", line)
        return
    with smtplib.SMTP(mail.smtp_host, mail.smtp_port, timeout=20) as server:
        if mail.smtp_starttls:
            server.starttls()
        if mail.smtp_user:
            server.login(mail.smtp_user, mail.smtp_password.get_secret_value())
        server.send_message(message)

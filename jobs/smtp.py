"""SMTP connections: STARTTLS, implicit TLS or plain; and classification of SMTP errors."""

import smtplib
import ssl

from models.config.operations import Mail

# Replies to the login, not to the mail: 530 and 534 to 538 of RFC 4954 (SMTP AUTH).
_LOGIN_REFUSED = frozenset({530, 534, 535, 538})


def connect(mail: Mail, *, timeout: float) -> smtplib.SMTP:
    """Return a logged-in connection, encrypted as `[mail] smtp_security` says. Raises OSError, SMTPException.

    `tls` starts with TLS (RFC 8314, port 465); `starttls` upgrades before any other command (RFC 3207, port 587) and
    never falls back to plain text. The server's certificate is verified either way.
    """
    if mail.security == "tls":
        context = ssl.create_default_context()
        server: smtplib.SMTP = smtplib.SMTP_SSL(mail.smtp_host, mail.smtp_port, timeout=timeout, context=context)
    else:
        server = smtplib.SMTP(mail.smtp_host, mail.smtp_port, timeout=timeout)
    try:
        if mail.security == "starttls":
            server.starttls(context=ssl.create_default_context())
        if mail.smtp_user:
            server.login(mail.smtp_user, mail.smtp_password.get_secret_value())
    except BaseException:
        server.close()
        raise
    return server


def is_final(error: Exception) -> bool:
    """Return whether the server rejected a mail permanently: by a 5xx reply (RFC 5321 4.2.1), except to the login.

    4xx replies, broken connections and other errors are retried.
    """
    code = _reply(error)[0]
    return 500 <= code <= 599 and code not in _LOGIN_REFUSED


def describe(error: Exception) -> str:
    """Return the server's reply verbatim, such as `550 5.1.1 No such user`, or the error's own text."""
    code, text = _reply(error)
    return f"{code} {text}".strip() if code else str(error) or type(error).__name__


def _reply(error: Exception) -> tuple[int, str]:
    """Return code and text of the SMTP reply in an error; (0, "") when there is none."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        # Each mail has one recipient.
        code, text = next(iter(error.recipients.values()), (0, b""))
        return code, text.decode("utf-8", "replace")
    if isinstance(error, smtplib.SMTPResponseException):
        reply = error.smtp_error
        return error.smtp_code, reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return 0, ""

"""Connecting to the mail server: STARTTLS, implicit TLS or neither, and what its refusals mean."""

import smtplib
import ssl

from models.config.operations import Mail

# Replies about the login, not about the mail: 530 and 534 to 538 of RFC 4954 (SMTP AUTH).
_LOGIN_REFUSED = frozenset({530, 534, 535, 538})


def connect(mail: Mail, *, timeout: float) -> smtplib.SMTP:
    """Return a logged-in connection, encrypted as `[mail] smtp_security` says. Raises OSError, SMTPException.

    `tls` speaks TLS from the first byte (RFC 8314, port 465), `starttls` begins it before anything is said (RFC 3207,
    port 587) and never goes on in the clear. The server's certificate is verified either way.
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
    """Say whether the server refused a mail for good: by a 5xx reply (RFC 5321 4.2.1), unless it was to the login.

    A 4xx reply, a broken connection and whatever else goes wrong are tried again.
    """
    code = _reply(error)[0]
    return 500 <= code <= 599 and code not in _LOGIN_REFUSED


def describe(error: Exception) -> str:
    """Return the server's reply as it stands, such as `550 5.1.1 No such user`; else the error's own text."""
    code, text = _reply(error)
    return f"{code} {text}".strip() if code else str(error) or type(error).__name__


def _reply(error: Exception) -> tuple[int, str]:
    """Return code and text of the reply that an error reports; 0 when it reports none."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        # Each mail has one recipient.
        code, text = next(iter(error.recipients.values()), (0, b""))
        return code, text.decode("utf-8", "replace")
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return error.smtp_code, said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return 0, ""

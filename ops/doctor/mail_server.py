"""Can mail be sent? A connection to the mail server as the jobs make it, and the cause when it fails."""

import smtplib
import socket
import ssl
from collections.abc import Iterator

from jobs import smtp
from models.config.operations import Mail
from ops.doctor.findings import Finding, Installation, Section

TIMEOUT_SECONDS = 4.0
IMPLICIT_TLS_PORT = 465


def examine(installation: Installation) -> Iterator[Finding]:
    """Connect to the mail server and log in; nothing is sent."""
    mail, what, see = installation.settings.mail, "The mail server accepts mail", Section.MAILS
    if not mail.is_configured:
        do = "Set [mail] smtp_host; until then mails are only logged and addresses are not confirmed."
        is_well = not installation.settings.platform.is_production
        yield Finding("A mail server is configured", is_well, "none: mails go to the log", do, see)
        return
    where = f"{mail.smtp_host}:{mail.smtp_port}"
    try:
        # Connect without SMTP first: a closed port and a server that does not greet are different problems.
        socket.create_connection((mail.smtp_host, mail.smtp_port), timeout=TIMEOUT_SECONDS).close()
    except OSError as error:
        seen, do = _unreachable(error)
        yield Finding(what, False, f"{where}: {seen}", do, see)
        return
    try:
        yield Finding(what, True, f"{where}: {_greet(mail)}")
    except (OSError, smtplib.SMTPException) as error:
        seen, do = _cause(error, mail)
        yield Finding(what, False, f"{where}: {seen}", do, see)


def _greet(mail: Mail) -> str:
    with smtp.connect(mail, timeout=TIMEOUT_SECONDS) as server:
        server.noop()
    said = ["it answers", *(["TLS"] if mail.security != "none" else []), *(["logged in"] if mail.smtp_user else [])]
    return ", ".join(said)


def _unreachable(error: OSError) -> tuple[str, str]:
    if isinstance(error, socket.gaierror):
        return "the name cannot be resolved", "Correct [mail] smtp_host."
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there", "Check [mail] smtp_port: 587 for starttls, 465 for tls."
    if isinstance(error, TimeoutError):
        return "no connection in time", "Open the port in the firewall; many providers block 25, 465 and 587 at first."
    return str(error) or type(error).__name__, "Check [mail] smtp_host and smtp_port, and the firewall."


def _cause(error: Exception, mail: Mail) -> tuple[str, str]:  # noqa: PLR0911 - one for each cause
    """Return the cause of a failure on an open port, and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        do = "Set [mail] smtp_host to a name in the server's certificate, or have the certificate renewed."
        return f"its certificate is refused: {error.verify_message}", do
    if isinstance(error, ssl.SSLError):
        if mail.security == "tls":
            return "it does not begin with TLS", 'Set [mail] smtp_security = "starttls", or smtp_port = 465.'
        return f"TLS fails: {error.reason or error}", "Check the server's TLS settings."
    if isinstance(error, smtplib.SMTPNotSupportedError) and "STARTTLS" in str(error):
        return "it offers no STARTTLS", 'Set [mail] smtp_security = "tls" with smtp_port = 465, if it has that.'
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "it offers no login on this connection", "Leave [mail] smtp_user empty, or encrypt the connection."
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"the login is refused ({smtp.describe(error)})", "Correct [mail] smtp_user and smtp_password."
    if isinstance(error, TimeoutError | smtplib.SMTPServerDisconnected | ConnectionError) and mail.security != "tls":
        if mail.smtp_port == IMPLICIT_TLS_PORT:
            return "it says nothing before TLS", 'Set [mail] smtp_security = "tls": port 465 begins with TLS.'
        return "it does not greet", 'If this port begins with TLS, set [mail] smtp_security = "tls".'
    return smtp.describe(error), "Check [mail] smtp_port and smtp_security, and the server's own log."

"""POST to a user-supplied URL: public networks only, no redirects, bounded in time and size.

The host name is resolved once. The resolved address is checked and the connection is made to exactly that address,
while TLS and Host still name the host: this defeats DNS rebinding.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from models.services.webhooks.url_policy import WEB_PORTS_BY_SCHEME, Unreachable, addresses
from models.webhooks import DeliveryError

USER_AGENT = "Zenzefi-Webhook/1"


@dataclass(frozen=True, slots=True)
class PostResponse:
    """Status and first bytes of the response."""

    status: int
    start: bytes


@dataclass(frozen=True, slots=True)
class PostLimits:
    """Limits of one request."""

    seconds: float
    answer_bytes: int
    allow_private: bool


def post(
    url: str, body: bytes, headers: Mapping[str, str], bounds: PostLimits, context: ssl.SSLContext
) -> PostResponse:
    """Send `body` and return the start of the response.

    Raises Unreachable, whose error the endpoint's owner sees.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or WEB_PORTS_BY_SCHEME[parts.scheme]
    ends = time.monotonic() + bounds.seconds
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {
        # The connection only knows an address, so Host is set here; user info in the URL is left out.
        "Host": parts.netloc.rpartition("@")[2],
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
        "Connection": "close",
        **headers,
    }
    unreached: Exception | None = None
    for address in addresses(host, port, allow_private=bounds.allow_private):
        left = ends - time.monotonic()
        if left <= 0:
            break
        if parts.scheme == "https":
            connection: HTTPConnection = HTTPSConnection(
                address, port, timeout=left, ssl_context=context, server_hostname=host
            )
        else:
            connection = HTTPConnection(address, port, timeout=left)
        with _abort_at(connection, ends) as cut:
            try:
                connection.connect()
            except (OSError, HTTPError) as error:
                unreached = error
                continue
            try:
                connection.request("POST", target, body=body, headers=sent, preload_content=False, decode_content=False)
                response = connection.getresponse()
                start = b""
                with suppress(OSError, HTTPError, HTTPException):
                    # A response body that breaks off or times out does not change the status.
                    start = response.read(bounds.answer_bytes) or b""
                return PostResponse(response.status, start)
            except (OSError, HTTPError, HTTPException, ValueError) as error:
                raise _unreachable(error, was_cut=cut.is_set()) from None
    raise _unreachable(unreached, was_cut=time.monotonic() >= ends)


@contextmanager
def _abort_at(connection: HTTPConnection, ends: float) -> Iterator[threading.Event]:
    """Close the connection at a deadline: a socket's own time-out restarts with each byte received."""
    was_cut = threading.Event()

    def cut() -> None:
        was_cut.set()
        held: socket.socket | None = connection.sock
        if held is not None:
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, ends - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield was_cut
    finally:
        timer.cancel()
        connection.close()


def _unreachable(error: Exception | None, *, was_cut: bool) -> Unreachable:
    """Return an error that contains no address and nothing that the server sent."""
    cause = error
    while cause is not None and not isinstance(cause, ssl.SSLError) and cause.__cause__ is not None:
        cause = cause.__cause__ if isinstance(cause.__cause__, Exception) else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unreachable(DeliveryError.CERTIFICATE_INVALID, text=cause.verify_message[:200])
    if isinstance(cause, ssl.SSLError):
        return Unreachable(DeliveryError.TLS_FAILED)
    if was_cut or isinstance(cause, TimeoutError):
        return Unreachable(DeliveryError.TIMEOUT)
    if isinstance(cause, ConnectionRefusedError):
        return Unreachable(DeliveryError.CONNECTION_REFUSED)
    return Unreachable(DeliveryError.CONNECTION_FAILED)

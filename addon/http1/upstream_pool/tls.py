"""TLS to the upstream: certificate verification, session resumption, encryption of one connection's bytes."""

import contextlib
import ssl
from pathlib import Path

import certifi

from addon.http1.upstream import Address

_READ_BYTES = 65536


def upstream_context(ca_file: str = "", client_certificate: str = "") -> ssl.SSLContext:
    """Return the TLS settings for the upstream. Raises OSError when a file cannot be used.

    `ca_file` replaces the public authorities; `client_certificate` holds a key, its certificate and the chain.
    """
    context = ssl.create_default_context(cafile=ca_file or certifi.where())
    # Private authorities often lack extensions that RFC 5280 wants; mitmproxy and curl accept them as well.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    if client_certificate:
        context.load_cert_chain(client_certificate, password="")
    return context


class UpstreamTls:
    """The TLS settings of one worker for its upstream, and the last session of each address for resumption."""

    def __init__(self, ca_file: Path | None = None, client_certificate: Path | None = None) -> None:
        self._ca_file = str(ca_file or "")
        self._client_certificate = str(client_certificate or "")
        self._context: ssl.SSLContext | None = None
        self._sessions: dict[tuple[Address, str], ssl.SSLSession] = {}

    def reload(self) -> None:
        """Load the files again. Raises OSError, and the former settings remain in use, when one cannot be used."""
        self._context = upstream_context(self._ca_file, self._client_certificate)
        self._sessions.clear()  # A session belongs to the context that made it.

    def stream(self, address: Address, server_name: str) -> "TlsStream":
        """Return the TLS side of a new connection. Raises OSError when a file cannot be used."""
        if self._context is None:
            self.reload()
        assert self._context is not None  # `reload` has set it
        return TlsStream(self._context, server_name, self._sessions.get((address, server_name)))

    def remember(self, address: Address, stream: "TlsStream") -> None:
        """Keep the connection's session: the next handshake with this address needs no certificate.

        TLS 1.3 sends it after the handshake (RFC 8446, 4.6.1), so it is asked for after the first response.
        """
        session = stream.session
        if session is not None and session.has_ticket and stream.context is self._context:
            self._sessions[address, stream.server_name] = session


class TlsStream:
    """Encrypts and decrypts the bytes of one connection in memory; does no I/O."""

    __slots__ = ("_incoming", "_outgoing", "_tls", "context", "has_ended", "is_ready", "server_name")

    def __init__(self, context: ssl.SSLContext, server_name: str, session: ssl.SSLSession | None) -> None:
        self.context = context
        self.server_name = server_name
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name, session=session)
        # Whether the handshake is over, and whether the upstream has ended its side of TLS (close_notify).
        self.is_ready = False
        self.has_ended = False

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session as it is now."""
        return self._tls.session

    @property
    def was_resumed(self) -> bool:
        """Whether the handshake resumed an earlier session."""
        return bool(self._tls.session_reused)

    def handshake(self) -> None:
        """Continue the handshake. Raises ssl.SSLError."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.is_ready = True

    def receive(self, data: bytes) -> bytes:
        """Take encrypted bytes, return decrypted ones. Raises ssl.SSLError."""
        self._incoming.write(data)
        if not self.is_ready:
            self.handshake()
            if not self.is_ready:
                return b""
        pieces = []
        try:
            while piece := self._tls.read(_READ_BYTES):
                pieces.append(piece)
            self.has_ended = True
        except ssl.SSLWantReadError:
            pass
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def encrypt(self, data: bytes) -> None:
        """Encrypt bytes; `take_outgoing` returns them."""
        self._tls.write(data)

    def take_outgoing(self) -> bytes:
        """Return encrypted bytes that are to be sent."""
        return self._outgoing.read()

    def end(self) -> bytes:
        """Return the bytes that end this side of TLS (RFC 8446, 6.1)."""
        with contextlib.suppress(ssl.SSLError):  # It would wait for the peer's end.
            self._tls.unwrap()
        return self._outgoing.read()

"""A small SMTP server that stores what it receives."""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string, policy
from pathlib import Path
from typing import NamedTuple


class Letter(NamedTuple):
    """A mail as its reader sees it."""

    to: str
    subject: str
    text: str


@dataclass
class Sink:
    """Received mails: the recipients of each envelope and its text."""

    port: int = 0
    refuse: str = ""
    refusal: str = "550 no"
    is_encrypted: bool = False
    envelopes: list[tuple[list[str], str]] = field(default_factory=list)

    def letters(self) -> list[Letter]:
        """Return the received mails, oldest first."""
        return [_read(recipients, raw) for recipients, raw in list(self.envelopes)]


def _read(recipients: list[str], raw: str) -> Letter:
    message = message_from_string(raw, policy=policy.default)
    part = message.get_body(("plain",))
    assert part is not None
    return Letter(recipients[0], str(message["Subject"]), str(part.get_content()))


@contextmanager
def running(*, certificate: Path | None = None, begins_with_tls: bool = False) -> Iterator[Sink]:
    """Run a sink on a free loopback port; with a certificate it offers STARTTLS, or implicit TLS."""
    sink = Sink()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if certificate else None
    if tls and certificate:
        tls.load_cert_chain(certificate)

    class Conversation(socketserver.StreamRequestHandler):
        def setup(self) -> None:
            if tls and begins_with_tls:
                self.request = tls.wrap_socket(self.request, server_side=True)
            super().setup()

        def handle(self) -> None:
            recipients: list[str] = []
            self.wfile.write(b"220 sink\r\n")
            while line := self.rfile.readline().decode().strip():
                word = line[:4].upper()
                if word == "STAR" and tls:
                    self.wfile.write(b"220 go on\r\n")
                    self.request = tls.wrap_socket(self.request, server_side=True)
                    super().setup()
                    sink.is_encrypted = True
                    continue
                if word == "RCPT":
                    recipients.append(line.partition(":")[2].split()[0].strip("<>"))
                if word == "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    text = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
                    sink.envelopes.append((recipients, text))
                    recipients = []
                self.wfile.write(self._answer(word, line))

        def _answer(self, word: str, line: str) -> bytes:
            if sink.refuse and sink.refuse in line.upper():
                return f"{sink.refusal}\r\n".encode()
            if word == "EHLO" and tls and not sink.is_encrypted and not begins_with_tls:
                return b"250-sink\r\n250 STARTTLS\r\n"
            if word == "EHLO" and sink.refuse == "AUTH":
                return b"250-sink\r\n250 AUTH PLAIN\r\n"
            return b"221 bye\r\n" if word == "QUIT" else b"250 fine\r\n"

    with Server(("127.0.0.1", 0), Conversation) as server:
        sink.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield sink
        server.shutdown()


class Server(socketserver.ThreadingTCPServer):
    """Ignores clients that disconnect, as they do on an unexpected kind of TLS."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave the error to the client."""

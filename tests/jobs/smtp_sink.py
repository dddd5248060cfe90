"""A mail server of a few lines that keeps what it is given."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string, policy
from typing import NamedTuple


class Letter(NamedTuple):
    """A mail as its reader sees it."""

    to: str
    subject: str
    text: str


@dataclass
class Sink:
    """What has arrived: the recipients of each envelope and its text."""

    port: int = 0
    refuse: str = ""
    envelopes: list[tuple[list[str], str]] = field(default_factory=list)

    def letters(self) -> list[Letter]:
        """Return what has arrived, oldest first."""
        return [_read(recipients, raw) for recipients, raw in list(self.envelopes)]


def _read(recipients: list[str], raw: str) -> Letter:
    message = message_from_string(raw, policy=policy.default)
    part = message.get_body(("plain",))
    assert part is not None
    return Letter(recipients[0], str(message["Subject"]), str(part.get_content()))


@contextmanager
def running() -> Iterator[Sink]:
    """Run a sink on a free port of the loopback."""
    sink = Sink()

    class Conversation(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            recipients: list[str] = []
            self.wfile.write(b"220 sink\r\n")
            while line := self.rfile.readline().decode().strip():
                word = line[:4].upper()
                if word == "RCPT":
                    recipients.append(line.partition(":")[2].split()[0].strip("<>"))
                if word == "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    text = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
                    sink.envelopes.append((recipients, text))
                    recipients = []
                refused = sink.refuse and sink.refuse in line.upper()
                self.wfile.write(b"221 bye\r\n" if word == "QUIT" else b"550 no\r\n" if refused else b"250 fine\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Conversation) as server:
        sink.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield sink
        server.shutdown()

"""A webhook receiver that can be slow, broken or malicious."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Receiver:
    """Its behaviour, and received requests: headers (names in lower case) and body."""

    port: int = 0
    status: int = 200
    answer: bytes = b"fine"
    behaviour: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def url(self, path: str = "/hook") -> str:
        """Return its URL."""
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def running(certificate: Path | None = None) -> Iterator[Receiver]:
    """Run a receiver on a free loopback port, with TLS if a certificate is given."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
            receiver.paths.append(self.path)
            with suppress(OSError):
                self._answer()

        def _answer(self) -> None:
            match receiver.behaviour:
                case "hang":
                    time.sleep(5)
                case "garbage":
                    self.wfile.write(b"\x00\x01 no HTTP at all\r\n\r\n")
                case "drip head":
                    for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000:
                        self.wfile.write(bytes([letter]))
                        time.sleep(0.05)
                case "drip body":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                    for _ in range(1000):
                        self.wfile.write(b"a")
                        time.sleep(0.05)
                case "huge":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    for _ in range(10_000):
                        self.wfile.write(b"a" * 65536)
                case "endless head":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    for number in range(1_000_000):
                        self.wfile.write(b"X-%d: a\r\n" % number)
                case _:
                    self.send_response(receiver.status)
                    self.send_header("Content-Length", str(len(receiver.answer)))
                    if 300 <= receiver.status < 400:
                        self.send_header("Location", "/elsewhere")
                    self.end_headers()
                    self.wfile.write(receiver.answer)
            self.close_connection = True

        def log_message(self, *_arguments: object) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        # A handler that still sends slowly must not block the test.
        server.block_on_close = False
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        receiver.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield receiver
        server.shutdown()

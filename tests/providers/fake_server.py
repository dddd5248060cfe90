"""Base of the fake payment providers: a stateful server on loopback that can fail on request."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, dict[str, Any]]


class FakeServer:
    """A provider's API: `answer` decides, `asked` remembers, the same idempotency key gets the same answer.

    `failures` are what the next requests get instead: a status, or 0 for a connection that is closed unanswered. Of the
    next changes so many `losses` are carried out, and their answers lost.
    """

    IDEMPOTENCY_HEADER: ClassVar[str]

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[tuple[str, str]] = []
        self.failures: list[int] = []
        self.losses = 0
        self._answers: dict[str, Answer] = {}
        self._lock = threading.Lock()

    def handle(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> Answer:
        with self._lock:
            self.asked.append((method, path))
            if self.failures:
                return self.failures.pop(0), {"error": {"type": "api_error", "message": "fails"}, "type": "error"}
            key = headers.get(self.IDEMPOTENCY_HEADER)
            if method == "POST" and key in self._answers:
                answer = self._answers[key]
            else:
                answer = self.answer(method, path, query, body)
            if method == "POST" and key and answer[0] == 200:
                self._answers[key] = answer
            if method == "POST" and self.losses:
                self.losses -= 1
                return 0, {}
            return answer

    def forget_keys(self) -> None:
        """Expire all idempotency keys, as providers do after a day."""
        self._answers.clear()

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        raise NotImplementedError

    @contextmanager
    def running(self) -> Iterator[None]:
        """Listen on a free port of loopback."""
        far_side = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def _serve(self) -> None:
                address = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                query = dict(parse_qsl(address.query))
                status, content = far_side.handle(self.command, address.path, query, self.headers, body)
                if status == 0:
                    self.close_connection = True
                    return
                raw = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            self.address = f"http://127.0.0.1:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            yield
            server.shutdown()
            thread.join(timeout=5)

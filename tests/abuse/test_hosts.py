"""Redirects and cookies stay on the proxy, and absolute-form targets are served: raw sockets to a real worker."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from models import database
from models.config import settings as config
from tests.abuse.test_admission import read
from tests.addon.conftest import Owned, sell
from tests.addon.processes import Proxy, free_port, proxy_environment


class Boaster:
    """An upstream that puts its own address wherever possible, and keeps the last request."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.authority = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.last = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        lines = (
            f"Location: http://{self.authority}/next?a=b",
            f"Content-Location: http://{self.authority}/here",
            f"Refresh: 5; url=http://{self.authority}/later",
            "Set-Cookie: theirs=1; Domain=127.0.0.1; Path=/",
        )
        answer = "\r\n".join(("HTTP/1.1 302 Found", *lines, "Content-Length: 0", "Connection: close", "\r\n")).encode()
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (data := connection.recv(65536)):
                    head += data
                if head and b"zenzefi-prober" not in head:
                    self.last = head
                connection.sendall(answer)

    def close(self) -> None:
        self._listener.close()


@dataclass
class Stage:
    """A worker in front of it, and a token."""

    proxy: Proxy
    upstream: Boaster
    owned: Owned

    def ask(self, line: str, *lines: str) -> list[str]:
        """Send a request and return the header lines of the response."""
        head = (f"{line} HTTP/1.1", f"X-Access-Token: {self.owned.secret}", *lines, "Connection: close", "\r\n")
        with self.proxy.connect() as connection:
            connection.sendall("\r\n".join(head).encode())
            return read(connection, 5).partition(b"\r\n\r\n")[0].decode().split("\r\n")


@pytest.fixture(scope="module")
def stage(make_database: Callable[[], str], environment: dict[str, str]) -> Iterator[Stage]:
    settings = config.load_settings({**environment, "DATABASE_URL": make_database()})
    engine, upstream, port = database.connect(settings.database), Boaster(), free_port()
    variables = proxy_environment(settings, environment["REDIS_URL"], f"http://{upstream.authority}", port)
    proxy = Proxy(port, variables)
    proxy.start_worker()
    yield Stage(proxy, upstream, sell(database.sessions(engine), settings, "buyer"))
    proxy.stop()
    upstream.close()
    engine.dispose()


def test_no_response_leads_past_the_proxy(stage: Stage) -> None:
    own = f"127.0.0.1:{stage.proxy.port}"
    reply = stage.ask("GET /a", f"Host: {own}")
    assert f"Location: http://{own}/next?a=b" in reply
    assert f"Content-Location: http://{own}/here" in reply
    assert f"Refresh: 5; url=http://{own}/later" in reply
    assert "Set-Cookie: theirs=1; Path=/" in reply
    assert not any(stage.upstream.authority in line for line in reply)


def test_redirects_for_the_desktop_clients_browser_are_paths(stage: Stage) -> None:
    reply = stage.ask("GET /api/v1/proxy/a", f"Host: 127.0.0.1:{stage.proxy.port}")
    assert "Location: /next?a=b" in reply
    assert not any(stage.upstream.authority in line for line in reply)


def test_origin_and_referer_name_the_upstream(stage: Stage) -> None:
    own = f"http://127.0.0.1:{stage.proxy.port}"
    stage.ask("POST /a", f"Host: {own[7:]}", f"Origin: {own}", f"Referer: {own}/form", "Content-Length: 0")
    theirs = f"http://{stage.upstream.authority}"
    assert f"\r\nOrigin: {theirs}\r\nReferer: {theirs}/form\r\n".encode() in stage.upstream.last
    assert b"\r\nVia: 1.1 gateway\r\n" in stage.upstream.last


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        ("GET http://127.0.0.1:{port}/a%2Fb//c?d", "GET /a%2Fb//c?d HTTP/1.1"),
        ("GET http://localhost:{port}", "GET / HTTP/1.1"),
        ("PROPFIND /a", "PROPFIND /a HTTP/1.1"),
        ("OPTIONS *", "OPTIONS * HTTP/1.1"),
        ("QUERY /a", "QUERY /a HTTP/1.1"),
    ],
)
def test_valid_request_targets_are_forwarded(stage: Stage, line: str, sent: str) -> None:
    assert stage.ask(line.format(port=stage.proxy.port), "Host: x")[0] == "HTTP/1.1 302 Found"
    assert stage.upstream.last.startswith(sent.encode())


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET http://evil.example/", "400"),
        ("CONNECT evil.example:443", "501"),
        ("TRACE /", "501"),
        ("GET *", "400"),
    ],
)
def test_targets_of_other_hosts_and_loops_are_rejected(stage: Stage, line: str, status: str) -> None:
    stage.upstream.last = b""
    assert stage.ask(line, "Host: x")[0].split(" ")[1] == status
    assert stage.upstream.last == b""


def test_an_options_request_without_forwards_left_is_answered_by_the_proxy(stage: Stage) -> None:
    stage.upstream.last = b""
    reply = stage.ask("OPTIONS *", "Host: x", "Max-Forwards: 0")
    assert reply[0] == "HTTP/1.1 204 No Content"
    assert "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" in reply
    assert stage.upstream.last == b""

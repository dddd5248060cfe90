"""Attacks on browser access against a real worker, upstream and database.

docs/spec/invariants.md#15-secrets-and-identity-headers
docs/spec/invariants.md#18-floods-of-wrong-tokens
docs/spec/invariants.md#29-secrets-at-rest-and-in-logs
"""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from sqlalchemy import text

from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.crypto import secrets
from models.services.crypto.secrets import Purpose
from models.services.tokens import browser_access
from models.services.tokens import purchase as token_purchase
from tests.addon.conftest import upstream
from tests.addon.processes import Proxy, Reply, free_port, proxy_environment
from tests.conftest import make_user

__all__ = ["upstream"]  # the fixture

Committed = tuple[Settings, Sessions]


@pytest.fixture
def proxy(committed: Committed, environment: dict[str, str], upstream: str) -> Iterator[Proxy]:
    """A proxy in front of a sample upstream, with a worker started by the test."""
    port = free_port()
    proxy = Proxy(port, proxy_environment(committed[0], environment["REDIS_URL"], upstream, port))
    yield proxy
    proxy.stop()


def ticket_and_token(committed: Committed) -> tuple[str, str]:
    """Sell a token; return a ticket for it and its secret."""
    settings, factory = committed
    with factory.begin() as session:
        buyer = make_user(session, "buyer", balance="10")
        token, secret = token_purchase.purchase(
            session, buyer, hours=1, scope="full", name="", settings=settings, actor=PLATFORM
        )
        return browser_access.issue_ticket(session, buyer, token.id, settings=settings, actor=PLATFORM), secret


def press(proxy: Proxy, ticket: str) -> Reply:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    body = urlencode({"ticket": ticket}).encode()
    return proxy.request("POST", "/_zenzefi/enter", body=body, headers=headers)


def test_15_neither_token_nor_cookie_reaches_the_upstream_however_the_cookie_is_written(
    proxy: Proxy, committed: Committed
) -> None:
    proxy.start_worker()
    ticket, token = ticket_and_token(committed)
    cookie = press(proxy, ticket).headers["Set-Cookie"].partition(";")[0]
    name, _, secret = cookie.partition("=")
    for sent in (
        [f"theirs=1; {cookie}; more=2"],
        ["theirs=1", cookie, "more=2"],
        [f"theirs=1;{name} = {secret};more=2"],
        [f"theirs=1; {cookie}; __Host-{cookie}; zenzefi={token}; ZENZEFI_ACCESS={secret}; more=2"],
    ):
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
        connection.putrequest("GET", "/echo")
        for value in sent:
            connection.putheader("Cookie", value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        assert answer.status == 200
        assert secret not in body
        assert token not in body
        assert "zenzefi" not in body.lower()
        theirs = "; ".join(value for header, value in json.loads(body)["headers"] if header == "Cookie")
        assert theirs.replace(" ", "") == "theirs=1;more=2"


def test_15_an_upstream_can_neither_set_nor_clear_the_cookie(proxy: Proxy, committed: Committed) -> None:
    ticket, _ = ticket_and_token(committed)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_serve_cookies, args=(listening,), daemon=True).start()
        evil = proxy.beside(UPSTREAM__URL=f"http://127.0.0.1:{listening.getsockname()[1]}")
        evil.start_worker()
        try:
            cookie = press(evil, ticket).headers["Set-Cookie"].partition(";")[0]
            answer = evil.get("/", Cookie=cookie)
        finally:
            evil.stop()
    assert answer.status == 200
    assert answer.headers.get_all("Set-Cookie") == ["theirs=1"]
    assert "Clear-Site-Data" not in answer.headers


def _serve_cookies(listening: socket.socket) -> None:
    """Respond to every request with the platform's own cookie names, until the socket is closed."""
    reply = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nSet-Cookie: zenzefi_access=evil; Path=/\r\n"
        b"Set-Cookie: theirs=1\r\nSet-Cookie: __Host-zenzefi_access=evil\r\n"
        b"set-cookie:  Zenzefi_Access =; Max-Age=0\r\n"
        b'Clear-Site-Data: "cookies"\r\n\r\n'
    )
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            if connection.recv(65536):
                connection.sendall(reply)


def test_18_made_up_cookies_and_tickets_never_reach_the_database(proxy: Proxy, committed: Committed) -> None:
    settings, factory = committed
    ticket, token = ticket_and_token(committed)
    impatient = proxy.beside(DATABASE__LOCK_TIMEOUT_MS="300")
    impatient.start_worker()
    press(impatient, ticket)
    genuine = {purpose: secrets.new_secret(settings.tokens, purpose) for purpose in Purpose}
    try:
        with factory.begin() as session:
            # Calls to the database now block and then fail.
            session.execute(text("LOCK access_tickets, access_cookies, access_tokens IN ACCESS EXCLUSIVE MODE"))
            # A token or a ticket is no cookie, and the other way round: their MACs say so without a look-up.
            for made_up in ("x" * 64, token, ticket, genuine[Purpose.TICKET]):
                assert impatient.get("/", Cookie=f"zenzefi_access={made_up}").status == 401
            for made_up in ("x" * 64, token, genuine[Purpose.COOKIE]):
                assert press(impatient, made_up).status == 410
                assert impatient.get(f"/_zenzefi/enter?ticket={made_up}").status == 410
            # To be sure that the lock is one: what may be genuine is looked up.
            assert impatient.get("/", Cookie=f"zenzefi_access={genuine[Purpose.COOKIE]}").status == 503
            assert press(impatient, genuine[Purpose.TICKET]).status == 503
    finally:
        impatient.stop()


def test_29_ticket_and_cookie_are_in_no_database_log_or_error_page(
    proxy: Proxy, committed: Committed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, access = tmp_path / "worker.log", tmp_path / "access.log"
    told = proxy.beside(PROXY__ACCESS_LOG=str(access))
    with log.open("wb") as file:
        told.start_worker(output=file)
        try:
            ticket, token = ticket_and_token(committed)
            asked = told.get(f"/_zenzefi/enter?ticket={ticket}")
            entered = press(told, ticket)
            cookie = entered.headers["Set-Cookie"].partition(";")[0]
            pages = [told.get("/", Cookie=cookie), told.get("/", Cookie=f"{cookie}x", Accept="text/html")]
            again = [press(told, ticket), told.get(f"/_zenzefi/enter?ticket={ticket}")]
        finally:
            told.stop()
    assert [page.status for page in (asked, entered, *pages, *again)] == [200, 303, 200, 401, 410, 410]
    secret = cookie.partition("=")[2]
    assert asked.headers["Referrer-Policy"] == entered.headers["Referrer-Policy"] == "no-referrer"
    written = log.read_text() + access.read_text()
    assert written.count('"/_zenzefi/enter"') == 4
    written += "".join(page.body.decode() for page in (entered, *pages, *again))
    _, factory = committed
    with factory() as session:
        for table in session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all():
            written += "".join(session.scalars(text(f'SELECT t::text FROM "{table}" AS t')))
    for hidden in (ticket, secret, token):
        assert hidden not in written
        assert hidden[8:40] not in written

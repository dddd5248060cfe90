"""Attacks on admission with raw sockets to a running worker.

docs/spec/invariants.md#11-paths-outside-the-scope
docs/spec/invariants.md#12-revocation-within-a-second
docs/spec/invariants.md#13-errors-in-admission-reject
docs/spec/invariants.md#14-rejected-uploads
docs/spec/invariants.md#15-secrets-and-identity-headers
docs/spec/invariants.md#16-request-smuggling
docs/spec/invariants.md#17-two-devices-on-a-fresh-token
docs/spec/invariants.md#18-floods-of-wrong-tokens
docs/spec/invariants.md#19-rejections-do-not-activate
docs/spec/invariants.md#20-limits-across-workers
"""

import base64
import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import select

from models import database
from models.access_tokens import AccessToken
from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from models.proxy_sessions import ProxySession
from models.services.accounts import roles
from models.services.actor import PLATFORM
from models.services.crypto import secrets
from models.services.tokens import pause as token_pause
from models.services.tokens import revocation
from tests.abuse.statement_recorder import Recorder
from tests.addon.conftest import Owned, sell
from tests.addon.processes import Proxy, Reply, free_port, proxy_environment
from tests.addon.test_worker import wait_for

TRAVERSALS = [
    "/certificates/filter/../../users/currentUser",
    "/certificates/filter/%2e%2e/%2e%2e/users/currentUser",
    "/certificates/filter/..%2f..%2fusers/currentUser",
    "/certificates/filter/..%5c..%5cusers/currentUser",
    "/certificates/filter/%252e%252e/users/currentUser",
    "/certificates/filter/..;/..;/users/currentUser",
    "/certificates/filter/.;/users",
    "/certificates/filter\\..\\..\\users\\currentUser",
    "//users/currentUser",
    "/certificates//../users/currentUser",
    "/certificates/filter/..%c0%af../users/currentUser",
    "/users/currentUser#/certificates/filter",
    "http://127.0.0.1/users/currentUser",
    "http://users/certificates/filter",
    "users/currentUser",
    "*",
    "/%00/certificates/filter",
]
SMUGGLED = {
    "TE and CL": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "two equal lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "list of lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello",
    "signed length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
    "unknown coding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "hidden coding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "two codings": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "coding on HTTP/1.0": b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\rX-B: 2\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: x\n\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\x00\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost: x\r\nX-A : 1\r\n\r\n",
    "odd version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "CONNECT": b"CONNECT users:443 HTTP/1.1\r\nHost: users\r\n\r\n",
}


@dataclass
class Scene:
    """A worker in front of a recording upstream, with its own database."""

    settings: Settings
    factory: Sessions
    upstream: Recorder
    proxy: Proxy
    owned: Owned

    def send(self, raw: bytes, *, secret: str | None = None, seconds: float = 3) -> bytes:
        """Send bytes, with a token's header after the request line if wanted, and read until the end or a pause."""
        if secret is not None:
            line, _, rest = raw.partition(b"\n")
            raw = line + b"\nX-Access-Token: " + secret.encode() + b"\r\n" + rest
        with self.proxy.connect() as connection:
            connection.sendall(raw)
            return read(connection, seconds)


def read(connection: socket.socket, seconds: float) -> bytes:
    """Read until the connection is closed or idle for a while."""
    connection.settimeout(seconds)
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
            connection.settimeout(0.3)
    except (TimeoutError, ConnectionResetError):
        pass
    return received


@contextmanager
def staged(settings: Settings, redis_url: str) -> Iterator[Scene]:
    """Start a worker in front of a recording upstream."""
    engine, upstream, port = database.connect(settings.database), Recorder(), free_port()
    factory = database.sessions(engine)
    proxy = Proxy(port, proxy_environment(settings, redis_url, upstream.address, port))
    proxy.start_worker()
    yield Scene(settings, factory, upstream, proxy, sell(factory, settings, "first"))
    proxy.stop()
    upstream.close()
    engine.dispose()


@pytest.fixture(scope="module")
def stage(make_database: Callable[[], str], environment: dict[str, str]) -> Iterator[Scene]:
    """Two workers, shared by all tests that leave no state."""
    settings = config.load_settings({**environment, "DATABASE_URL": make_database()})
    with staged(settings, environment["REDIS_URL"]) as scene:
        scene.proxy.start_worker()
        yield scene


@pytest.fixture
def scene(stage: Scene) -> Scene:
    """The shared workers, a new buyer, and an empty recording."""
    stage.upstream.received.clear()
    return replace(stage, owned=sell(stage.factory, stage.settings, f"buyer-{uuid.uuid4().hex[:8]}"))


@pytest.fixture
def own_scene(committed: tuple[Settings, Sessions], environment: dict[str, str]) -> Iterator[Scene]:
    """A separate worker, for tests that leave state."""
    with staged(committed[0], environment["REDIS_URL"]) as scene:
        yield scene


def code(raw: bytes) -> str:
    return str(json.loads(raw.partition(b"\r\n\r\n")[2])["code"])


def test_11_no_spelling_of_a_path_reaches_outside_the_scope(scene: Scene) -> None:
    narrow = sell(scene.factory, scene.settings, f"narrow-{uuid.uuid4().hex[:8]}", scope="certificates_only")
    for path in TRAVERSALS:
        for prefix in ("", "/api/v1/proxy"):
            if prefix and not path.startswith("/"):
                continue
            raw = f"GET {prefix}{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            reply = scene.send(raw, secret=narrow.secret)
            assert reply.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403", b"HTTP/1.1 404")), (path, reply)
    assert b"currentUser" not in scene.upstream.received


def test_11_dot_segments_and_foreign_authorities_are_rejected_in_every_scope(scene: Scene) -> None:
    for path in TRAVERSALS[:4] + TRAVERSALS[7:8] + TRAVERSALS[9:10] + TRAVERSALS[11:]:
        reply = scene.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), secret=scene.owned.secret)
        assert reply.startswith(b"HTTP/1.1 400"), (path, reply)
    assert b"currentUser" not in scene.upstream.received


@pytest.mark.parametrize(
    "target", ["/a%2Fb", "/a//b?c=//d", "/a%5Cb", "/%E2%84%85", "//a", "/a;b/..;/c", "/%252e%252e/a", "/a\\b"]
)
def test_an_unrestricted_scope_passes_every_legitimate_target_byte_for_byte(scene: Scene, target: str) -> None:
    reply = scene.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), secret=scene.owned.secret)
    assert reply.startswith(b"HTTP/1.1 200"), reply
    assert f"GET {target} HTTP/1.1\r\n".encode() in scene.upstream.received


def test_13_an_exception_anywhere_in_admission_rejects_the_request(own_scene: Scene) -> None:
    with own_scene.factory.begin() as session:
        session.connection().exec_driver_sql("ALTER TABLE proxy_sessions RENAME TO gone")
    reply = own_scene.send(b"GET /secret-page HTTP/1.1\r\nHost: x\r\n\r\n", secret=own_scene.owned.secret)
    assert reply.startswith((b"HTTP/1.1 500", b"HTTP/1.1 503")), reply
    assert b"secret-page" not in own_scene.upstream.received


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_14_a_rejected_request_with_a_5_gb_body_gets_its_response_at_once(scene: Scene, expect: bytes) -> None:
    head = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5368709120\r\n" + expect + b"\r\n"
    begun = time.monotonic()
    reply = scene.send(head)
    assert reply.startswith(b"HTTP/1.1 401")
    assert b"100 Continue" not in reply
    assert time.monotonic() - begun < 2
    assert b"/upload" not in scene.upstream.received


def test_15_no_secret_and_no_identity_header_of_a_client_reaches_the_upstream(scene: Scene) -> None:
    secret = scene.owned.secret
    basic, theirs = base64.b64encode(f"me:{secret}".encode()).decode(), "T" * 64
    carriers = [
        f"X-Access-Token: {secret}\r\nAuthorization: Bearer {theirs}",
        f"Authorization: Bearer {secret}",
        f"X-Access-Token: {secret}\r\nAuthorization: Bearer {secret}",
        f"X-Access-Token: {secret}\r\nAuthorization: Basic {basic}",
    ]
    for source in carriers:
        raw = (
            f"GET /seen HTTP/1.1\r\nHost: x\r\n{source}\r\nCookie: zenzefi=portal; __Host-zenzefi=p; theirs=1\r\n"
            "X-User-Id: root\r\nX_User_Id: root\r\nX-Token-Id: 1\r\n"
            "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"
            "X-Forwarded-Host: evil\r\nX-Request-ID: mine\r\nConnection: close, X-Private\r\nX-Private: 1\r\n\r\n"
        )
        assert scene.send(raw.encode()).startswith(b"HTTP/1.1 200")
    seen = bytes(scene.upstream.received)
    for word in (
        secret.encode(),
        basic.encode(),
        b"portal",
        b"root",
        b"6.6.6.6",
        b"evil",
        b"mine",
        b"X-Private",
        b"zenzefi",
    ):
        assert word not in seen, word
    # An Authorization that only looks like ours is the upstream's.
    assert seen.count(f"Authorization: Bearer {theirs}".encode()) == seen.count(b"Authorization") == 1
    assert seen.count(b"theirs=1") == len(carriers)
    assert seen.count(str(scene.owned.user.id).encode()) == len(carriers)


@pytest.mark.parametrize("name", SMUGGLED)
def test_16_upstream_and_proxy_never_disagree_where_a_request_ends(scene: Scene, name: str) -> None:
    reply = scene.send(SMUGGLED[name], secret=scene.owned.secret)
    assert reply == b"" or reply.startswith((b"HTTP/1.1 400", b"HTTP/1.1 405", b"HTTP/1.1 501")), reply
    assert reply.count(b"HTTP/1.1 ") <= 1
    assert scene.owned.secret.encode() not in scene.upstream.received
    assert str(scene.owned.token.id).encode() not in scene.upstream.received


def test_16_an_upgrade_other_than_websocket_is_removed_and_pipelined_garbage_is_rejected(scene: Scene) -> None:
    upgrade = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n"
    raw = b"GET /up HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n"
    assert scene.send(raw, secret=scene.owned.secret).startswith(b"HTTP/1.1 200")
    assert b"h2c" not in scene.upstream.received
    assert b"HTTP2-Settings" not in scene.upstream.received
    reply = scene.send(b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n\x00\x01\x02 garbage\r\n\r\n", secret=scene.owned.secret)
    assert reply.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 400" in reply
    assert b"garbage" not in scene.upstream.received


def test_17_two_devices_at_the_same_instant_on_a_fresh_token_make_one_session(scene: Scene) -> None:
    for number in range(5):
        owned = sell(scene.factory, scene.settings, f"racer{number}-{uuid.uuid4().hex[:8]}")
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(scene.proxy.get, "/", owned.secret, X_Device_ID=f"device-{n}") for n in range(2)]
            assert sorted(answer.result().status for answer in asked) == [200, 409]
        with scene.factory() as session:
            rows = session.scalars(select(ProxySession).where(ProxySession.token_id == owned.token.id)).all()
        assert len(rows) == 1


def test_18_invalid_tokens_are_not_looked_up_and_do_not_slow_other_clients(own_scene: Scene) -> None:
    assert own_scene.proxy.get("/", own_scene.owned.secret).status == 200
    with own_scene.factory() as session:
        before = session.connection().exec_driver_sql(_TOKEN_SCANS).scalar_one()
    with own_scene.proxy.connect() as connection:
        for _ in range(1000):
            wrong = secrets.new_secret(own_scene.settings.tokens)[:-4] + "AAAA"
            connection.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nX-Access-Token: {wrong}\r\n\r\n".encode())
            assert b"HTTP/1.1 4" in connection.recv(65536)
    begun = time.monotonic()
    assert own_scene.proxy.get("/", own_scene.owned.secret).status == 200
    assert time.monotonic() - begun < 1
    reply = own_scene.proxy.get("/", "x" * 64)
    assert (reply.status, json.loads(reply.body)["code"]) == (429, "too_many_failures")
    assert int(reply.headers["Retry-After"]) <= 61
    with own_scene.factory() as session:
        after = session.connection().exec_driver_sql(_TOKEN_SCANS).scalar_one()
    assert after - before < 50


# How often the database has looked at the table of tokens, by index or otherwise.
_TOKEN_SCANS = (
    "SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'access_tokens'"
)


def test_19_a_rejected_request_never_activates_a_token(scene: Scene) -> None:
    narrow = sell(scene.factory, scene.settings, f"narrow-{uuid.uuid4().hex[:8]}", scope="certificates_only")
    assert scene.proxy.get("/users/currentUser", narrow.secret).status == 403
    assert scene.proxy.get("/", narrow.secret, X_Device_ID="x").status == 400
    assert scene.proxy.get("/a//b", narrow.secret).status == 400
    assert scene.proxy.get("/api/v1/proxy/status", narrow.secret).status == 200
    with scene.factory() as session:
        assert session.get_one(AccessToken, narrow.token.id).activated_at is None


def test_20_a_rate_limit_holds_across_two_workers_and_sends_retry_after(own_scene: Scene) -> None:
    own_scene.proxy.stop()
    limited = Proxy(own_scene.proxy.port, {**own_scene.proxy.environment, "ZENZEFI_LIMITS__PROXY_PER_MINUTE": "40"})
    try:
        limited.start_worker()
        limited.start_worker()
        replies: list[tuple[float, Reply]] = []
        while sum(reply.status == 429 for _, reply in replies) < 40:
            replies.append((time.monotonic(), limited.get("/", own_scene.owned.secret)))
            time.sleep(0.01)
        admitted = [moment for moment, reply in replies if reply.status == 200]
        refused = [reply for _, reply in replies if reply.status == 429]
        assert len(admitted) + len(refused) == len(replies)
        # What is admitted beyond the limit is admitted before the workers have heard of each other.
        assert len(admitted) >= 40
        assert admitted[-1] - admitted[39] < 0.5
        assert all(1 <= int(reply.headers["Retry-After"]) <= 61 for reply in refused)
        assert {reply.headers["RateLimit-Limit"] for _, reply in replies if reply.status == 200} == {"40"}
    finally:
        limited.stop()


@pytest.mark.parametrize("ending", ["revoked", "disabled", "paused"])
def test_12_open_exchanges_are_aborted_within_a_second_of_the_tokens_end(scene: Scene, ending: str) -> None:
    assert scene.proxy.get("/", scene.owned.secret).status == 200
    head = f"HTTP/1.1\r\nHost: x\r\nX-Access-Token: {scene.owned.secret}\r\n"
    asked = {
        "download": f"GET /endless {head}\r\n",
        "upload": f"POST /upload {head}Content-Length: 1000000\r\n\r\nsome",
        "tunnel": f"GET /ws {head}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n",
        "idle": f"GET / {head}\r\n",
    }
    with ExitStack() as stack:
        held = []
        for _ in range(6):  # Enough connections of each kind to meet both workers.
            for kind, request in asked.items():
                connection = stack.enter_context(scene.proxy.connect())
                connection.sendall(request.encode())
                if kind != "upload":
                    assert connection.recv(65536).startswith(b"HTTP/1.1 ")
                held.append(connection)
        wait_for(lambda: scene.upstream.received.count(b"\r\n\r\nsome"), 6)
        with scene.factory.begin() as session:
            if ending == "revoked":
                revocation.revoke(
                    session, scene.owned.user, scene.owned.token.id, settings=scene.settings, actor=PLATFORM
                )
            elif ending == "paused":
                token_pause.pause(
                    session, scene.owned.user, scene.owned.token.id, settings=scene.settings, actor=PLATFORM
                )
            else:
                roles.set_active(session, scene.owned.user.id, active=False, actor=PLATFORM)
        begun = time.monotonic()
        for connection in held:
            with suppress(ConnectionResetError):
                while connection.recv(65536):
                    assert time.monotonic() - begun < 1
        assert time.monotonic() - begun < 1
    refused = scene.proxy.get("/", scene.owned.secret)
    assert (refused.status, json.loads(refused.body)["code"]) == {
        "revoked": (401, "token_revoked"),
        "disabled": (401, "account_disabled"),
        "paused": (403, "token_paused"),
    }[ending]
    status = scene.proxy.get("/api/v1/proxy/status", scene.owned.secret)
    if ending == "paused":
        told = json.loads(status.body)
        assert (status.status, told["status"], told["expires_at"]) == (200, "paused", None)
        assert 3590 <= told["time_remaining_seconds"] <= 3600
    else:
        assert status.status == 401

"""One real worker with a real upstream and database: admission, counts, aborted connections, drain."""

import contextlib
import hashlib
import json
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update

from models import clock
from models.access_tokens import AccessToken
from models.audit import AuditAction, AuditEntry
from models.config.settings import Settings
from models.database import Sessions
from models.proxy_sessions import ProxySession
from models.services.accounts import roles
from models.services.actor import PLATFORM
from models.services.admin import lists as admin_lists
from models.services.gateway import sessions as proxy_sessions
from models.services.gateway.invalidation import CHANNEL
from models.services.reports.usage import Usage
from models.services.tokens import revocation
from tests.addon.conftest import Owned, SharedWorker, sell
from tests.addon.processes import Proxy, connections
from tests.factories import counted

Committed = tuple[Settings, Sessions]
DEVICE = "a1b2c3d4e5f6a7b8c9d0"


@pytest.fixture
def committed(shared_worker: SharedWorker) -> Committed:
    return shared_worker.committed


@pytest.fixture
def proxy(shared_worker: SharedWorker) -> Iterator[Proxy]:
    """The module's worker; workers that a test added are stopped after it."""
    yield shared_worker.proxy
    shared_worker.proxy.keep_one()


@pytest.fixture
def owned(committed: Committed) -> Owned:
    settings, factory = committed
    return sell(factory, settings, "buyer")


def wait_for[T](ask: object, wanted: T, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while (got := ask()) != wanted:  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{got!r} instead of {wanted!r}"
        time.sleep(0.05)


def test_requests_and_body_bytes_are_counted_exactly(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    _, factory = committed
    download = proxy.get("/bytes/1000000", owned.secret)
    upload = proxy.request("POST", "/echo", owned.secret, body=b"x" * 300_000, headers={})
    head = proxy.request("HEAD", "/bytes/5000", owned.secret, headers={})
    assert (download.status, upload.status, head.status) == (200, 200, 200)
    assert json.loads(upload.body)["body_sha256"] == hashlib.sha256(b"x" * 300_000).hexdigest()
    wait_for(lambda: counted(factory, owned.token.id), Usage(3, 300_000, 1_000_000 + len(upload.body), 1))


def test_the_audit_entries_of_a_request_are_found_by_its_id(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    first, second = proxy.get("/echo", owned.secret), proxy.get("/echo", owned.secret)
    with committed[1]() as session:
        ids = [first.headers["X-Request-ID"], second.headers["X-Request-ID"]]
        found = admin_lists.audit(admin_lists.AuditFilter(request_id=ids[0])).query
        assert {entry.action for entry in session.scalars(found)} == {
            AuditAction.TOKEN_ACTIVATED,
            AuditAction.SESSION_OPENED,
        }
        # Only the activation writes entries.
        assert session.scalars(select(AuditEntry).where(AuditEntry.request_id == ids[1])).all() == []


def test_no_secret_and_no_identity_header_of_the_client_reaches_the_upstream(proxy: Proxy, owned: Owned) -> None:
    reply = proxy.get(
        "/echo",
        owned.secret,
        X_Device_ID=DEVICE,
        X_User_Id="root",
        X_Token_Id="1",
        X_Forwarded_For="6.6.6.6",
        Forwarded="for=6.6.6.6",
        Cookie="zenzefi=portal; theirs=1",
        Authorization="Basic dGhlaXJzOm93bg==",
        Connection="X-Private",
        X_Private="1",
    )
    seen = {name.lower(): value for name, value in json.loads(reply.body)["headers"]}
    assert owned.secret not in reply.body.decode()
    assert "x-access-token" not in seen
    assert "x-device-id" not in seen
    assert "x-private" not in seen
    assert (seen["x-user-id"], seen["x-token-id"]) == (str(owned.user.id), str(owned.token.id))
    assert "6.6.6.6" not in reply.body.decode()
    assert seen["cookie"] == "theirs=1"
    assert seen["authorization"] == "Basic dGhlaXJzOm93bg=="


def test_an_expired_token_gets_401(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    _, factory = committed
    assert proxy.get("/certificates/filter", owned.secret).status == 200
    with factory.begin() as session:
        session.execute(
            update(AccessToken)
            .where(AccessToken.id == owned.token.id)
            .values(activated_at=clock.now() - timedelta(hours=1, seconds=-5))
        )
        proxy_sessions.invalidation.invalidate_token(session, owned.token.id)
    assert proxy.get("/certificates/filter", owned.secret).status == 200
    wait_for(lambda: proxy.get("/certificates/filter", owned.secret).status, 401)
    reply = proxy.get("/certificates/filter", owned.secret)
    assert (reply.status, json.loads(reply.body)["code"]) == (401, "token_expired")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_token_and_a_disabled_user_are_refused_within_a_second_on_every_worker(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    settings, factory = committed
    proxy.start_worker()
    other = sell(factory, settings, "other")
    for _ in range(12):  # Enough new connections to meet both workers.
        assert proxy.get("/certificates/filter", owned.secret).status == 200
        assert proxy.get("/certificates/filter", other.secret).status == 200
    with factory.begin() as session:
        revocation.revoke(session, owned.user, owned.token.id, settings=settings, actor=PLATFORM)
    with factory.begin() as session:
        roles.set_active(session, other.user.id, active=False, actor=PLATFORM)
    time.sleep(1)
    for _ in range(12):
        for secret in (owned.secret, other.secret):
            assert proxy.get("/certificates/filter", secret).status == 401


def test_a_refusal_never_activates_a_token(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    settings, factory = committed
    narrow = sell(factory, settings, "narrow", scope="certificates_only")
    assert proxy.get("/users/currentUser", narrow.secret).status == 403
    assert proxy.get("/a/../b", owned.secret).status == 400
    assert proxy.get("/", owned.secret, X_Device_ID="short").status == 400
    assert proxy.get("/api/v1/proxy/status", owned.secret).status == 200
    with factory() as session:
        both = (narrow.token.id, owned.token.id)
        assert [session.get_one(AccessToken, one).activated_at for one in both] == [None, None]
        assert session.scalars(select(ProxySession).where(ProxySession.token_id.in_(both))).all() == []


def test_an_unreachable_upstream_is_a_502_and_activates_nothing(
    committed: Committed, proxy: Proxy, owned: Owned
) -> None:
    _, factory = committed
    lonely = proxy.beside(UPSTREAM__URL="http://127.0.0.1:1")
    lonely.start_worker()
    try:
        reply = lonely.get("/certificates/filter", owned.secret)
        assert (reply.status, json.loads(reply.body)["code"]) == (502, "upstream_unreachable")
        assert b"127.0.0.1" not in reply.body
        with factory() as session:
            assert session.get_one(AccessToken, owned.token.id).activated_at is None
    finally:
        lonely.stop()


def test_two_devices_at_the_same_instant_on_a_fresh_token(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    _, factory = committed
    with ThreadPoolExecutor(8) as pool:
        replies = list(
            pool.map(lambda n: proxy.get("/certificates/filter", owned.secret, X_Device_ID=f"device-{n % 2}"), range(8))
        )
    assert sorted({reply.status for reply in replies}) == [200, 409]
    with factory() as session:
        [held] = session.scalars(select(ProxySession).where(ProxySession.token_id == owned.token.id)).all()
    winners = [n % 2 for n, reply in enumerate(replies) if reply.status == 200]
    assert {f"device-{n}" for n in winners} == {held.device_id}


def test_sigterm_loses_no_count_and_aborts_no_request(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    _, factory = committed
    ending = proxy.beside()
    worker = ending.start_worker()
    ending.get("/certificates/filter", owned.secret)
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(ending.get, "/slow?seconds=3", owned.secret) for _ in range(4)]
        wait_for(lambda: connections(ending.port), 4)
        worker.send_signal(signal.SIGTERM)
        assert [answer.result().status for answer in slow] == [200] * 4
    assert worker.wait(timeout=10) == 0
    assert counted(factory, owned.token.id).requests == 5


def test_health_needs_no_token_and_reserved_addresses_never_reach_the_upstream(proxy: Proxy, owned: Owned) -> None:
    for path in ("/health", "//health", "/_zenzefi/health"):
        reply = proxy.get(path)
        assert (reply.status, json.loads(reply.body)["status"]) == (200, "healthy")
    assert proxy.get("/_zenzefi/live").status == 200
    for path in ("/_zenzefi/", "/_zenzefi", "/_zenzefi/x", "/%5fzenzefi/x", "/api/v1/proxy/_zenzefi/x"):
        assert proxy.get(path, owned.secret).status == 404


def test_the_compatibility_prefix_is_removed_and_compression_is_not_requested(proxy: Proxy, owned: Owned) -> None:
    reply = proxy.get("/api/v1/proxy/echo?a=1&a=%2F", owned.secret, Accept_Encoding="gzip, br")
    seen = json.loads(reply.body)
    assert seen["path"] == "/echo?a=1&a=%2F"
    assert dict(seen["headers"])["Accept-Encoding"] == "identity"


def test_a_malformed_invalidation_message_does_not_stop_the_listener(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    settings, factory = committed
    assert proxy.get("/certificates/filter", owned.secret).status == 200
    for nonsense in ("nonsense", "5", "{}", '{"token": "x"}', '{"token": null, "hashes": 1}'):
        with factory.begin() as session:
            session.execute(select(func.pg_notify(CHANNEL, nonsense)))
    wait_for(lambda: proxy.get("/_zenzefi/ready").status, 200)
    assert proxy.get("/certificates/filter", owned.secret).status == 200
    with factory.begin() as session:
        revocation.revoke(session, owned.user, owned.token.id, settings=settings, actor=PLATFORM)
    wait_for(lambda: proxy.get("/certificates/filter", owned.secret).status, 401)


def rechecks(proxy: Proxy) -> int:
    """Return how often workers have asked the database about tokens in use."""
    found = re.search(
        rb'db_query_duration_seconds_count{query_type="tokens"} (\d+)', proxy.get("/_zenzefi/metrics").body
    )
    return int(found[1]) if found else 0


def test_a_recheck_that_the_database_did_not_answer_is_retried(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    _, factory = committed
    hasty = proxy.beside(DATABASE__LOCK_TIMEOUT_MS="50")
    hasty.start_worker()
    head = f"GET /sse?count=1000&interval=1 HTTP/1.1\r\nHost: x\r\nX-Access-Token: {owned.secret}\r\n\r\n"
    message = {"token": str(owned.token.id), "hashes": [owned.token.secret_hash.hex()], "version": 1}
    try:
        with hasty.connect() as busy:
            busy.sendall(head.encode())
            assert busy.recv(65536).startswith(b"HTTP/1.1 200")
            before = rechecks(hasty)
            with factory.begin() as session, factory() as other:
                session.execute(text("LOCK TABLE access_tokens IN ACCESS EXCLUSIVE MODE"))
                other.execute(select(func.pg_notify(CHANNEL, json.dumps(message))))
                other.commit()
                wait_for(lambda: rechecks(hasty) > before, True, seconds=20)
                ended = {"revoked_at": clock.now(), "refund_amount": 0}
                session.execute(update(AccessToken).where(AccessToken.id == owned.token.id).values(ended))
            with contextlib.suppress(ConnectionResetError):
                while busy.recv(65536):
                    pass
    finally:
        hasty.stop()


@pytest.mark.parametrize("path", ["/slow?seconds=30", "/sse?count=1000&interval=1"])
def test_open_connections_are_aborted_when_their_token_is_revoked(
    proxy: Proxy, committed: Committed, owned: Owned, path: str
) -> None:
    settings, factory = committed
    proxy.get("/certificates/filter", owned.secret)
    with proxy.connect() as idle, proxy.connect() as busy:
        for connection, target in ((idle, "/users/currentUser"), (busy, path)):
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nX-Access-Token: {owned.secret}\r\n\r\n".encode())
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        wait_for(lambda: counted(factory, owned.token.id).requests, 3)
        with factory.begin() as session:
            revocation.revoke(session, owned.user, owned.token.id, settings=settings, actor=PLATFORM)
        begun = time.monotonic()
        for connection in (idle, busy):
            # Data in transit when the connection is aborted may make it end with a reset.
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(65536):
                    pass
        assert time.monotonic() - begun < 1


def test_open_requests_are_aborted_when_their_token_expires(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    _, factory = committed
    proxy.get("/certificates/filter", owned.secret)
    with factory.begin() as session:
        session.execute(
            update(AccessToken)
            .where(AccessToken.id == owned.token.id)
            .values(activated_at=clock.now() - timedelta(hours=1, seconds=-5))
        )
        proxy_sessions.invalidation.invalidate_token(session, owned.token.id)
    begun = time.monotonic()
    reply = proxy.get("/slow?seconds=18", owned.secret)
    assert (reply.status, json.loads(reply.body)["code"]) == (401, "token_expired")
    assert 1 < time.monotonic() - begun < 12

"""Browser login on a real worker: the link, the confirmation page, the cookie, and access with the cookie."""

import base64
import hashlib
import http.client
import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote

import pytest
from sqlalchemy import select, update

from addon.http1.pages.frame import choose_language
from models import clock
from models.access_tokens import AccessToken
from models.audit import AuditAction, AuditEntry
from models.browser_access import AccessCookie, AccessTicket
from models.config.settings import Settings
from models.database import Sessions
from models.proxy_sessions import ProxySession
from models.services.actor import PLATFORM
from models.services.crypto import secrets
from models.services.crypto.secrets import Purpose
from models.services.tokens import browser_access, revocation
from tests.addon.browsers import ENTER, cookie_of, log_in, shown_ticket, submit_ticket, ticket_for
from tests.addon.conftest import Owned, SharedWorker, sell
from tests.addon.processes import Proxy, Reply

Committed = tuple[Settings, Sessions]


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


def open_link(proxy: Proxy, ticket: str, **headers: str) -> Reply:
    return proxy.get(f"{ENTER}?ticket={ticket}", **headers)


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, json.loads(reply.body)["code"]


def set_cookie(reply: Reply) -> set[str]:
    return set(reply.headers["Set-Cookie"].split("; ")[1:])


def test_a_browser_opens_the_link_confirms_and_sees_the_upstreams_pages(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    settings, factory = committed
    ticket = ticket_for(factory, settings, owned)
    page = open_link(proxy, ticket)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert owned.token.prefix in page.body.decode()
    reply = submit_ticket(proxy, shown_ticket(page))
    assert (reply.status, reply.headers["Location"]) == (303, "/")
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["Cache-Control"] == "no-store"
    assert set_cookie(reply) == {"Path=/", "Max-Age=3600", "HttpOnly", "SameSite=Lax"}
    with factory() as session:
        request = AuditEntry.request_id == reply.headers["X-Request-ID"]
        assert session.scalars(select(AuditEntry.action).where(request)).all() == [AuditAction.COOKIE_OPENED]
        assert session.get_one(AccessToken, owned.token.id).activated_at is None
    pages = proxy.get("/", Cookie=cookie_of(reply))
    assert (pages.status, b"Sample upstream" in pages.body) == (200, True)
    assert pages.headers["RateLimit-Limit"] == "1000"
    status = proxy.get("/_zenzefi/status", Cookie=cookie_of(reply))
    assert json.loads(status.body)["token_id"] == str(owned.token.id)


def test_the_page_may_load_nothing_and_names_its_style_by_hash(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    for reply, status in (
        (open_link(proxy, ticket_for(committed[1], committed[0], owned)), 200),
        (open_link(proxy, "made-up"), 410),
    ):
        assert reply.status == status
        policy = reply.headers["Content-Security-Policy"]
        style = re.search(rb"<style>(.*)</style>", reply.body)
        assert style is not None
        hashed = base64.b64encode(hashlib.sha256(style[1]).digest()).decode()
        assert f"style-src 'sha256-{hashed}'" in policy
        assert {"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"} <= set(policy.split("; "))
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Frame-Options"] == "DENY"
        assert b"<script" not in reply.body
        assert b" style=" not in reply.body


def test_fetching_the_link_does_not_redeem_the_ticket(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    ticket = ticket_for(committed[1], committed[0], owned)
    for method in ("GET", "HEAD", "GET"):
        reply = proxy.request(method, f"{ENTER}?ticket={ticket}", headers={"Sec-Purpose": "prefetch;prerender"})
        assert reply.status == 200
        assert "Set-Cookie" not in reply.headers
    assert submit_ticket(proxy, ticket).status == 303


def test_a_used_an_expired_and_a_made_up_ticket_get_the_page_of_an_expired_link(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    settings, factory = committed
    used, expired = (ticket_for(factory, settings, owned) for _ in range(2))
    assert submit_ticket(proxy, used).status == 303
    with factory.begin() as session:
        stale = AccessTicket.secret_hash == secrets.hash_of(settings.tokens, expired, Purpose.TICKET)
        session.execute(update(AccessTicket).where(stale).values(expires_at=clock.now()))
    never_issued = secrets.new_secret(settings.tokens, Purpose.TICKET)
    for ticket in (used, expired, never_issued, "x" * 64, owned.secret, "", "ä", "<script>"):
        for reply in (submit_ticket(proxy, ticket), open_link(proxy, quote(ticket)), submit_ticket(proxy, ticket)):
            assert reply.status == 410, ticket
            assert "Set-Cookie" not in reply.headers
            assert b"This link has expired" in reply.body
            assert reply.headers["X-Request-ID"].encode() in reply.body
            assert f'href="{settings.portal.address}/tokens"'.encode() in reply.body
            assert b"<script" not in reply.body
    assert proxy.get(ENTER).status == 410
    assert proxy.get(f"{ENTER}?ticket={used}&ticket={used}").status == 410
    with factory() as session:
        held = select(AccessCookie).where(AccessCookie.token_id == owned.token.id)
        assert len(session.scalars(held).all()) == 1


def test_the_page_is_in_the_browsers_language(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    ticket = ticket_for(committed[1], committed[0], owned)
    assert (
        "Открыть в этом браузере?" in open_link(proxy, ticket, Accept_Language="ru-RU,ru;q=0.9,en;q=0.8").body.decode()
    )
    page = open_link(proxy, ticket, Accept_Language="de")
    assert b"Open in this browser?" in page.body
    assert "Accept-Language" in page.headers["Vary"]


@pytest.mark.parametrize(
    ("asks_for", "language"),
    [
        ("ru", "ru"),
        ("de,ru;q=0.1", "ru"),
        ("en;q=0.5,ru;q=0.9", "ru"),
        ("en,ru;q=0.9", "en"),
        ("ru;q=0,de", "en"),
        ("", "en"),
        ("ru;q=x", "en"),
        (",;q=,", "en"),
    ],
)
def test_the_language_with_the_highest_quality_is_chosen(asks_for: str, language: str) -> None:
    assert choose_language(asks_for) == language


def test_a_form_of_another_site_is_refused_and_redeems_nothing(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    ticket = ticket_for(committed[1], committed[0], owned)
    for site, origin in (
        ("cross-site", "https://evil.example"),
        ("cross-site", "null"),
        ("same-site", ""),
        ("none", ""),
        ("", "https://evil.example"),
        ("", "http://127.0.0.1"),
        ("", ""),
    ):
        refused = submit_ticket(proxy, ticket, Sec_Fetch_Site=site, Origin=origin)
        assert code(refused) == (403, "cross_site"), (site, origin)
    assert submit_ticket(proxy, ticket).status == 303


def test_an_older_browsers_origin_shows_that_the_form_is_ours(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    for origin in (f"http://127.0.0.1:{proxy.port}", "null"):
        ticket = ticket_for(committed[1], committed[0], owned)
        assert submit_ticket(proxy, ticket, Sec_Fetch_Site="", Origin=origin).status == 303


def test_only_a_small_form_is_read(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    ticket = ticket_for(committed[1], committed[0], owned)
    assert submit_ticket(proxy, "x" * 4096).status == 413
    assert code(submit_ticket(proxy, ticket, Content_Type="application/json")) == (400, "bad_request")
    assert code(submit_ticket(proxy, ticket, Content_Type="text/plain")) == (400, "bad_request")
    empty = proxy.request("POST", ENTER, headers={"Sec-Fetch-Site": "same-origin"})
    assert empty.status == 400
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        assert proxy.request(method, f"{ENTER}?ticket={ticket}", headers={}).status == 404
    assert submit_ticket(proxy, ticket).status == 303


def test_the_login_address_exists_neither_below_the_prefix_nor_with_a_suffix(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    ticket = ticket_for(committed[1], committed[0], owned)
    for path in ("/api/v1/proxy/_zenzefi/enter", "/_zenzefi/enter/", "/_zenzefi/Enter", "/%5fzenzefi/enter"):
        assert proxy.get(f"{path}?ticket={ticket}", owned.secret).status == 404


def test_a_cookie_is_a_device_of_its_own_whatever_the_client_says(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    settings, factory = committed
    cookie = log_in(proxy, factory, settings, owned)
    for device in ({}, {"X_Device_ID": "a" * 20}, {"X_Device_ID": "x"}):
        assert proxy.get("/", Cookie=cookie, **device).status == 200
    other = log_in(proxy, factory, settings, owned)
    assert code(proxy.get("/users/currentUser", Cookie=other)) == (409, "device_conflict")
    assert code(proxy.get("/users/currentUser", owned.secret, X_Device_ID="a" * 20)) == (409, "device_conflict")
    with factory() as session:
        [held] = session.scalars(select(ProxySession).where(ProxySession.token_id == owned.token.id)).all()
        assert held.device_id is not None
        assert held.device_id.startswith("browser-")


def test_a_browser_that_logs_in_again_has_no_conflict_with_its_earlier_login(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    settings, factory = committed
    first = log_in(proxy, factory, settings, owned)
    assert proxy.get("/", Cookie=first).status == 200
    second = log_in(proxy, factory, settings, owned, Cookie=first)
    assert proxy.get("/", Cookie=second).status == 200
    time.sleep(1)
    assert code(proxy.get("/", Cookie=first)) == (401, "token_invalid")


def test_login_with_a_restricted_token_redirects_to_the_first_page_of_its_scope(
    proxy: Proxy, committed: Committed
) -> None:
    settings, factory = committed
    narrow = sell(factory, settings, "narrow", scope="certificates_only")
    reply = submit_ticket(proxy, ticket_for(factory, settings, narrow))
    assert reply.headers["Location"] == "/certificates/filter"
    assert proxy.get("/certificates/filter", Cookie=cookie_of(reply)).status == 200
    assert code(proxy.get("/users/currentUser", Cookie=cookie_of(reply))) == (403, "scope_denied")


def test_the_header_has_precedence_over_the_cookie_and_the_cookie_over_authorization(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    settings, factory = committed
    cookie = log_in(proxy, factory, settings, owned)
    other = sell(factory, settings, "other")
    bearer = f"Bearer {other.secret}"
    seen = [
        dict(json.loads(proxy.get("/echo", secret, **headers).body)["headers"])
        for secret, headers in (
            (other.secret, {"Cookie": cookie}),
            (None, {"Cookie": cookie, "Authorization": bearer}),
            (None, {"Authorization": bearer}),
        )
    ]
    assert [headers["X-Token-Id"] for headers in seen] == [
        str(other.token.id),
        str(owned.token.id),
        str(other.token.id),
    ]
    # Neither the credential source that was used is forwarded, nor another one with a token of ours.
    assert all("Authorization" not in headers for headers in seen)
    assert all("Cookie" not in headers for headers in seen)


def test_two_cookies_of_that_name_or_a_malformed_one_are_refused(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    settings, factory = committed
    cookie = log_in(proxy, factory, settings, owned)
    name = cookie.partition("=")[0]
    assert proxy.get("/", Cookie=f"theirs=1; {cookie}; more=2").status == 200
    for sent in (
        f"{cookie}; {cookie}",
        f"{cookie}; {name}=",
        f"{name}=x; {cookie}",
        f"{name}={owned.secret}",
        f'{name}="{cookie.partition("=")[2]}"',
        f"{cookie}x",
        f"{name}=",
        name,
    ):
        assert code(proxy.get("/", Cookie=sent)) == (401, "token_invalid"), sent
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
    connection.putrequest("GET", "/")
    for _ in range(2):
        connection.putheader("Cookie", cookie)
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()
    # A cookie's secret is not valid as a token.
    assert code(proxy.get("/", cookie.partition("=")[2])) == (401, "token_invalid")


def test_a_cookie_is_decided_from_memory(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    settings, factory = committed
    cookie = log_in(proxy, factory, settings, owned)
    assert [proxy.get("/", Cookie=cookie).status for _ in range(2)] == [200, 200]
    time.sleep(0.3)
    proxy.get("/", Cookie=cookie)
    with factory.begin() as session:
        # Without an invalidation; a worker that asked the database would not find the cookie any more.
        its = AccessCookie.token_id == owned.token.id
        session.execute(update(AccessCookie).where(its).values(ended_at=clock.now()))
    assert proxy.get("/", Cookie=cookie).status == 200


def test_connections_of_a_cookie_are_aborted_and_refused_when_its_token_ends(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    settings, factory = committed
    proxy.start_worker()
    cookie = log_in(proxy, factory, settings, owned)
    for _ in range(12):  # Enough new connections to meet both workers.
        assert proxy.get("/", Cookie=cookie).status == 200
    with proxy.connect() as busy:
        busy.sendall(f"GET /slow?seconds=30 HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n".encode())
        time.sleep(0.5)
        with factory.begin() as session:
            revocation.revoke(session, owned.user, owned.token.id, settings=settings, actor=PLATFORM)
        begun = time.monotonic()
        assert busy.recv(65536).startswith(b"HTTP/1.1 401")
        assert time.monotonic() - begun < 1
    time.sleep(1)
    for _ in range(12):
        assert code(proxy.get("/", Cookie=cookie)) == (401, "token_revoked")


def test_a_cookie_ends_everywhere_when_its_tokens_secret_is_rotated(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    settings, factory = committed
    proxy.start_worker()
    cookie = log_in(proxy, factory, settings, owned)
    for _ in range(12):
        assert proxy.get("/", Cookie=cookie).status == 200
    with factory.begin() as session:
        browser_access.end_of_token(session, owned.token.id)
    time.sleep(1)
    for _ in range(12):
        assert code(proxy.get("/", Cookie=cookie)) == (401, "token_invalid")


def test_a_cookie_outlives_no_token(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    settings, factory = committed
    cookie = log_in(proxy, factory, settings, owned)
    with factory.begin() as session:
        session.execute(
            update(AccessToken)
            .where(AccessToken.id == owned.token.id)
            .values(activated_at=clock.now() - timedelta(hours=1))
        )
    assert code(proxy.get("/", Cookie=cookie)) == (401, "token_expired")


def test_where_a_device_is_required_a_browser_needs_no_header(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    settings, factory = committed
    strict = proxy.beside(SESSIONS__DEVICE_POLICY="required")
    strict.start_worker()
    try:
        assert strict.get("/", Cookie=log_in(strict, factory, settings, owned)).status == 200
        assert strict.get("/", owned.secret).status == 403
    finally:
        strict.stop()


def test_in_production_the_cookie_is_bound_to_its_host_and_to_tls(
    proxy: Proxy, committed: Committed, owned: Owned
) -> None:
    settings, factory = committed
    edge = proxy.beside(
        PLATFORM__ENVIRONMENT="production",
        PORTAL__PUBLIC_URL="https://shop.example",
        PROXY__PUBLIC_URL="https://proxy.example",
        PAYMENTS__PROVIDERS="[]",
    )
    edge.start_worker()
    try:
        # Without Sec-Fetch-Site the form is refused: browsers send it to HTTPS, which production requires.
        ticket = ticket_for(factory, settings, owned)
        assert code(submit_ticket(edge, ticket, Sec_Fetch_Site="", Origin="null")) == (403, "cross_site")
        reply = submit_ticket(edge, ticket, Sec_Fetch_Site="", Origin="https://proxy.example")
        assert set_cookie(reply) == {"Path=/", "Max-Age=3600", "HttpOnly", "SameSite=Lax", "Secure"}
        name, _, secret = cookie_of(reply).partition("=")
        assert name == "__Host-zenzefi_access"
        assert edge.get("/", Cookie=f"{name}={secret}").status == 200
        # A sibling host can set the cookie of the plain name, so it is ignored.
        assert code(edge.get("/", Cookie=f"zenzefi_access={secret}")) == (401, "token_missing")
        assert "zenzefi_access" not in edge.get("/echo", Cookie=f"{name}={secret}; zenzefi_access=x").body.decode()
    finally:
        edge.stop()

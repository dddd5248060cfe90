"""No secret reaches the upstream or the database in any header, and no forged identity header passes.

docs/spec/invariants.md#15-secrets-and-identity-headers
docs/spec/invariants.md#29-secrets-at-rest-and-in-logs
docs/spec/invariants.md#32-redirects-and-forged-headers
"""

import base64
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from addon.process.layer_settings import build_forwarding_rules
from models.audit import AuditEntry
from models.config import settings as config
from models.config.settings import Settings
from models.proxy_sessions import ProxySession
from ops.bootstrap import REPOSITORY as ROOT
from portal import create_app, i18n
from portal.request import announcement_banner
from tests.abuse.statement_recorder import COOKIES
from tests.abuse.test_admission import Scene, staged
from tests.addon.conftest import sell

CLAIMS = (
    "X-Original-URI",
    "X-Original-Method",
    "X-Rewrite-Uri",
    "Remote-User",
    "X-Remote-Addr",
    "X-Host",
    "X-Middleware-Subrequest",
    "X-Accel-Redirect",
    "HTTP2-Settings",
)


@pytest.fixture(scope="module")
def stage(make_database: Callable[[], str], environment: dict[str, str]) -> Iterator[Scene]:
    settings = config.load_settings({**environment, "DATABASE_URL": make_database()})
    with staged(settings, environment["REDIS_URL"]) as scene:
        yield scene


@pytest.fixture
def scene(stage: Scene) -> Scene:
    stage.upstream.received.clear()
    return replace(stage, owned=sell(stage.factory, stage.settings, f"buyer-{uuid.uuid4().hex[:8]}"))


def get(*lines: str, path: str = "/seen") -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: x", *lines, "\r\n")).encode("latin-1")


def test_15_a_token_in_an_unexpected_header_does_not_reach_the_upstream(scene: Scene) -> None:
    secret = scene.owned.secret
    user = base64.b64encode(f"{secret}:x".encode()).decode()
    places = (
        f"Authorization: Bearer\t{secret}",
        f"Authorization: Token {secret}",
        f"Authorization: Basic {user}",
        f"X-API-Key: {secret}",
        f"X-Auth-Token: key-{secret}",
        f"Referer: http://x/page?token={secret}",
        f"Cookie: theirs=1; token={secret}",
        f"User-Agent: me/1.0 {secret}",
        f"Sec-WebSocket-Protocol: chat, {secret}",
    )
    for place in places:
        assert scene.send(get(place), secret=secret).startswith(b"HTTP/1.1 200 "), place
    in_address = get(path=f"/found/{secret}/x?token={secret}&b=1")
    assert scene.send(in_address, secret=secret).startswith(b"HTTP/1.1 200 ")
    # A digit ends its own escape (%34 is 4), so that the secret would stand in the address unescaped.
    at = next(index for index, character in enumerate(secret) if character.isalpha())
    escaped = get(path=f"/found?token={secret[:at]}%{ord(secret[at]):02x}{secret[at + 1 :]}")
    assert scene.send(escaped, secret=secret).startswith(b"HTTP/1.1 400 ")
    seen = bytes(scene.upstream.received)
    assert b"GET /found/masked/x?token=masked&b=1 HTTP/1.1" in seen
    assert secret.encode() not in seen
    assert secret[at + 1 :].encode() not in seen
    assert user.encode() not in seen
    assert seen.count(b"GET /seen ") == len(places)
    assert b"Cookie: theirs=1\r\n" in seen


def test_15_a_client_asserts_no_identity_path_or_method_by_gateway_headers(scene: Scene) -> None:
    reply = scene.send(get(*(f"{name}: claimed" for name in CLAIMS)), secret=scene.owned.secret)
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert b"claimed" not in scene.upstream.received


def test_29_a_token_sent_as_device_id_or_user_agent_is_not_stored(scene: Scene) -> None:
    secret = scene.owned.secret
    lines = (f"X-Device-ID: device-{secret}", f"User-Agent: me/1.0 {secret}")
    assert scene.send(get(*lines), secret=secret).startswith(b"HTTP/1.1 200 ")
    # It is still one device: it comes again, and another one is refused.
    assert scene.send(get(*lines), secret=secret).startswith(b"HTTP/1.1 200 ")
    assert scene.send(get("X-Device-ID: another-device"), secret=secret).startswith(b"HTTP/1.1 409 ")
    with scene.factory() as session:
        token_id = scene.owned.token.id
        [held] = session.scalars(select(ProxySession).where(ProxySession.token_id == token_id)).all()
        written = [repr(vars(row)) for row in (held, *session.scalars(select(AuditEntry)))]
    assert held.device_id is not None
    assert held.device_id.startswith("hashed-")
    assert held.user_agent == "me/1.0 [masked]"
    assert not any(secret in row for row in written)


def test_15_the_portals_cookies_pass_neither_way_on_a_shared_host(scene: Scene) -> None:
    brought = "; ".join(f"{name.decode()}=brought" for name in COOKIES)
    reply = scene.send(get(f"Cookie: {brought}", path="/planted"), secret=scene.owned.secret)
    assert [line for line in reply.split(b"\r\n") if line.startswith(b"Set-Cookie")] == [
        b"Set-Cookie: theirs=planted; Path=/"
    ]
    assert b"\r\nCookie: theirs=brought\r\n" in scene.upstream.received
    # Nor does the upstream tell the web server in front what to serve.
    assert b"X-Accel" not in reply
    assert b"X-Sendfile" not in reply


def test_15_every_cookie_of_the_portal_is_known_to_the_gateway(settings: Settings) -> None:
    names = {
        i18n.COOKIE,
        i18n.THEME_COOKIE,
        announcement_banner.COOKIE,
        "device",
        create_app(settings).config["SESSION_COOKIE_NAME"],
    }
    assert {name.encode() for name in names} <= build_forwarding_rules(settings).cookies
    # A cookie set elsewhere must be added above and to addon/process/layer_settings.py.
    pages = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "portal").rglob("*.py")}
    scripts = [path.read_text() for path in (ROOT / "static/js").rglob("*.js")]
    assert {name for name, text in pages.items() if "set_cookie(" in text} == {
        "portal/request/announcement_banner.py",
        "portal/request/auth.py",
        "portal/request/preferences.py",
    }
    assert not any("document.cookie" in text for text in scripts)


def test_32_an_address_with_a_zone_or_a_port_from_a_trusted_proxy_is_an_address(scene: Scene) -> None:
    trusting = scene.proxy.beside(PROXY__TRUSTED_PROXIES='["127.0.0.0/8"]', LIMITS__FAILURES_PER_MINUTE="2")
    trusting.start_worker()
    try:
        addresses = [
            "fe80::1%eth0",
            "203.0.113.9:4711",
            "[2001:db8::1]:4711",
            "::ffff:198.51.100.1",
            "fe80::1%" + "x" * 300,
        ]
        for address in addresses:
            assert trusting.get("/", "x" * 64, X_Forwarded_For=address).status == 401, address
        statuses = [trusting.get("/", "x" * 64, X_Forwarded_For="::ffff:198.51.100.1").status for _ in range(3)]
        assert statuses == [401, 429, 429]
        assert trusting.get("/", "x" * 64, X_Forwarded_For="::ffff:198.51.100.2").status == 401
    finally:
        trusting.stop()


def test_an_upstream_keeps_its_own_everyday_cookies_where_hosts_are_separate(settings: Settings) -> None:
    proxy = settings.proxy.model_copy(update={"public_url": "https://proxy.example"})
    portal = settings.portal.model_copy(update={"public_url": "https://shop.example"})
    rules = build_forwarding_rules(settings.model_copy(update={"proxy": proxy, "portal": portal}))
    assert not {b"lang", b"theme", b"seen", b"device"} & rules.cookies
    assert {b"zenzefi", b"__host-zenzefi", b"__host-device"} <= rules.cookies

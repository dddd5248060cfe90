"""Request smuggling with prefixes, reserved names, upgrades and pipelines, on raw sockets.

docs/spec/invariants.md#11-paths-outside-the-scope
docs/spec/invariants.md#16-request-smuggling
docs/spec/invariants.md#18-floods-of-wrong-tokens
"""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from models.config import settings as config
from tests.abuse.test_admission import Scene, read, staged
from tests.addon.conftest import sell

RESERVED = [
    "/_zenzefi/metrics",
    "/_ZENZEFI/live",
    "/_Zenzefi",
    "/%5fzenzefi/x",
    "/_%7aenzef%69/x",
    "/_zenzefi;a=b/x",
    "/_zenzefi%3b/x",
    "/api/v1/proxy/_zenzefi/x",
    "/api/v1/proxy/_ZENZEFI/x",
    "/api/v1/proxy/%5Fzenzefi/enter",
    "//_zenzefi/live",
    "/%2f_zenzefi/live",
    "/\\_zenzefi/live",
    "/api/v1/proxy//_zenzefi/live",
]
OUTSIDE = [
    "/api/v1/proxy//certificates/filter",
    "/api/v1/proxy/%2fcertificates/filter",
    "/api/v1/proxy/./certificates/filter",
    "/api/v1/proxy/../certificates/filter",
    "/api/v1/proxy/;/certificates/filter",
    "/api/v1/proxycertificates/filter",
    "/api/v1/proxy;x/certificates/filter",
    "/api%2fv1/proxy/certificates/filter",
    "/API/V1/PROXY/certificates/filter",
    "/api/v1/proxy/api/v1/proxy/certificates/filter",
    "/api/v1/proxy",
    "/api/v1/proxy/users/currentUser",
    "/Certificates/filter",
    "/certificates;/filter",
    "/certificates/filter;jsessionid=1",
    "/certificates/details/1/2",
]
NO_TUNNELS = {
    "a body": "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: a\r\nContent-Length: 4\r\n\r\nbody",
    "no key": "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "not named in Connection": "Upgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n",
    "two protocols": "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Key: a\r\n\r\n",
    "another protocol": "Upgrade: raw\r\nConnection: Upgrade\r\nSec-WebSocket-Key: a\r\n\r\n",
}


@pytest.fixture(scope="module")
def stage(make_database: Callable[[], str], environment: dict[str, str]) -> Iterator[Scene]:
    settings = config.load_settings({**environment, "DATABASE_URL": make_database()})
    with staged(settings, environment["REDIS_URL"]) as scene:
        yield scene


@pytest.fixture
def scene(stage: Scene) -> Scene:
    stage.upstream.received.clear()
    return replace(stage, owned=sell(stage.factory, stage.settings, f"buyer-{uuid.uuid4().hex[:8]}"))


def get(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode()


@pytest.mark.parametrize("path", RESERVED)
def test_no_spelling_of_a_reserved_address_reaches_the_upstream(scene: Scene, path: str) -> None:
    scene.send(get(path), secret=scene.owned.secret)
    assert b"zenzefi" not in bytes(scene.upstream.received).lower()


@pytest.mark.parametrize("path", OUTSIDE)
def test_11_no_trick_with_the_prefix_widens_a_scope(scene: Scene, path: str) -> None:
    narrow = sell(scene.factory, scene.settings, f"narrow-{uuid.uuid4().hex[:8]}", scope="certificates_only")
    reply = scene.send(get(path), secret=narrow.secret)
    assert reply.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 ")), reply
    assert str(narrow.token.id).encode() not in scene.upstream.received


@pytest.mark.parametrize("name", NO_TUNNELS)
def test_16_only_a_websocket_handshake_opens_a_tunnel(scene: Scene, name: str) -> None:
    raw = f"GET /ws HTTP/1.1\r\nHost: x\r\n{NO_TUNNELS[name]}".encode()
    reply = scene.send(raw, secret=scene.owned.secret)
    # The recorder switches protocols for anybody; the worker does not.
    assert reply.startswith(b"HTTP/1.1 502 "), reply
    assert b"pgrade" not in scene.upstream.received


def test_16_data_after_a_declined_upgrade_is_a_request_that_needs_admission(scene: Scene) -> None:
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: a\r\n"
    reply = scene.send(get("/declines", upgrade) + get("/smuggled"), secret=scene.owned.secret)
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 401 " in reply
    assert b"smuggled" not in scene.upstream.received


def test_18_pipelined_requests_after_a_rejected_one_are_dropped(scene: Scene) -> None:
    with scene.proxy.connect() as connection:
        begun = time.monotonic()
        connection.sendall(get("/") * 1000)
        reply = read(connection, 3)
        assert scene.proxy.get("/", scene.owned.secret).status == 200
        assert time.monotonic() - begun < 3
    assert reply.count(b"HTTP/1.1 401 ") == 1
    assert reply.count(b"HTTP/1.1 ") == 1

"""Upstream connections are not shared between users, and abandoned requests free their slots.

docs/spec/invariants.md#20-limits-across-workers
docs/spec/invariants.md#34-responses-stay-with-their-user
"""

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from models.config import settings as config
from tests.abuse.test_admission import Scene, read, staged
from tests.abuse.test_faults import wait_until
from tests.addon.conftest import sell


@pytest.fixture(scope="module")
def stage(make_database: Callable[[], str], environment: dict[str, str]) -> Iterator[Scene]:
    settings = config.load_settings({**environment, "DATABASE_URL": make_database()})
    with staged(settings, environment["REDIS_URL"]) as scene:
        yield scene


@pytest.fixture
def scene(stage: Scene) -> Scene:
    stage.upstream.received.clear()
    stage.upstream.requests = 0
    return replace(stage, owned=sell(stage.factory, stage.settings, f"buyer-{uuid.uuid4().hex[:8]}"))


def get(path: str, secret: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Access-Token: {secret}\r\n\r\n".encode()


def test_34_a_surplus_response_never_reaches_another_user_on_the_same_client_connection(scene: Scene) -> None:
    other = sell(scene.factory, scene.settings, f"other-{uuid.uuid4().hex[:8]}")
    for _ in range(10):
        with scene.proxy.connect() as connection:
            connection.sendall(get("/surplus", scene.owned.secret))
            first = read_one(connection)
            assert first.endswith(b"\r\n\r\nok"), first
            connection.sendall(get("/fine", other.secret))
            received = read(connection, 3)
        assert received.endswith(b"\r\n\r\nok"), received
        assert b"A!" not in received


def read_one(connection: socket.socket) -> bytes:
    """Read exactly one response with a body of two bytes."""
    received = b""
    while not received.partition(b"\r\n\r\n")[2][1:]:
        received += connection.recv(65536)
    return received


def test_20_requests_whose_client_has_closed_hold_no_slot_of_their_token(scene: Scene) -> None:
    limit = scene.settings.limits.proxy_at_once
    with ExitStack() as stack:
        for _ in range(limit):
            stack.enter_context(scene.proxy.connect()).sendall(get("/hang", scene.owned.secret))
        wait_until(lambda: scene.upstream.requests == limit, seconds=20)
        assert scene.proxy.get("/fine", scene.owned.secret).status == 429
    left = time.monotonic()
    wait_until(lambda: scene.proxy.get("/fine", scene.owned.secret).status == 200, seconds=5)
    assert time.monotonic() - left < 2

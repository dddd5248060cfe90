"""Connections of one address at a worker are limited; a trusted proxy, through which many clients come, is not."""

import contextlib
from pathlib import Path

import pytest

from models.config.settings import Settings
from tests.addon.conftest import SharedWorker

ROOT = Path(__file__).resolve().parents[4]
GET = b"GET /_zenzefi/live HTTP/1.1\r\nHost: x\r\n\r\n"


def test_one_address_cannot_hold_all_connections_by_default(settings: Settings) -> None:
    """5,000 idle clients (docs/spec/invariants.md#24-slow-and-idle-clients-at-the-proxy) leave room for others."""
    limit = settings.proxy.connections_per_address
    assert 0 < limit <= settings.proxy.connections / 10
    assert settings.proxy.connections >= 2 * 5000
    assert f"`proxy.connections_per_address` ({limit})" in (ROOT / "docs" / "gateway.md").read_text()


@pytest.mark.parametrize(
    ("trusted", "last"),
    [("[]", b"HTTP/1.1 503 "), ('["127.0.0.0/8"]', b"HTTP/1.1 200 "), ('["::1"]', b"HTTP/1.1 503 ")],
)
def test_one_connection_too_many_is_refused_unless_it_is_a_trusted_proxys(
    shared_worker: SharedWorker, trusted: str, last: bytes
) -> None:
    proxy = shared_worker.proxy.beside(PROXY__CONNECTIONS_PER_ADDRESS="5", PROXY__TRUSTED_PROXIES=trusted)
    proxy.start_worker()
    try:
        with contextlib.ExitStack() as stack:
            answers = []
            for _ in range(6):
                connection = stack.enter_context(proxy.connect())
                connection.sendall(GET)
                answers.append(connection.recv(65536))
            assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers[:5])
            assert answers[5].startswith(last)
            assert (b'"overloaded"' in answers[5]) is last.endswith(b"503 ")
    finally:
        proxy.stop()

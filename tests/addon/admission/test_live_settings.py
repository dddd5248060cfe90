"""Settings changed by an admin are applied by a running worker within a second."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.settings import overrides
from tests.addon.conftest import Owned, sell
from tests.addon.processes import Proxy, Reply

Committed = tuple[Settings, Sessions]


@pytest.fixture
def owned(committed: Committed) -> Owned:
    settings, factory = committed
    return sell(factory, settings, "buyer")


def change(committed: Committed, key: str, value: Any) -> None:
    settings, factory = committed
    with factory.begin() as session:
        seen = overrides.setting(session, settings, key).seen
        overrides.change(session, settings, key, value=value, reason="for a test", seen=seen, actor=PLATFORM)


def within_a_second(ask: Callable[[], Reply], status: int) -> Reply:
    deadline = time.monotonic() + 1
    while (reply := ask()).status != status:
        assert time.monotonic() < deadline, f"{reply.status} instead of {status}"
        time.sleep(0.02)
    return reply


def test_maintenance_refuses_everybody_and_ends(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    change(committed, "maintenance.words_en", "Back at <noon>.")
    change(committed, "maintenance.words_ru", "Вернёмся в <полдень>.")
    change(committed, "maintenance.on", "true")
    refused = within_a_second(lambda: proxy.get("/echo", owned.secret), 503)
    said = json.loads(refused.body)
    assert (said["code"], said["detail"]) == ("maintenance", "The service is closed for maintenance. Back at <noon>.")
    assert refused.headers["Retry-After"] == "300"
    page = proxy.get("/echo", owned.secret, Accept="text/html")
    assert (page.status, b"Back at &lt;noon&gt;." in page.body) == (503, True)
    russian = proxy.get("/echo", owned.secret, **{"Accept": "text/html", "Accept-Language": "ru-RU,ru;q=0.9,en;q=0.8"})
    assert "Технические работы" in russian.body.decode()
    assert "Вернёмся в &lt;полдень&gt;." in russian.body.decode()
    # Malformed requests are refused first, no token is looked up, and own addresses still answer.
    assert proxy.get("/%2e%2e/echo", owned.secret).status == 400
    assert proxy.get("/echo").status == 503
    assert proxy.get("/api/v1/proxy/status", owned.secret).status == 200
    assert proxy.get("/_zenzefi/ready").status == 200
    change(committed, "maintenance.on", None)
    within_a_second(lambda: proxy.get("/echo", owned.secret), 200)


def test_limits_and_the_device_policy_follow(proxy: Proxy, committed: Committed, owned: Owned) -> None:
    assert proxy.get("/echo", owned.secret).headers["RateLimit-Limit"] == "1000"
    change(committed, "limits.proxy_per_minute", "2")
    limited = within_a_second(lambda: proxy.get("/echo", owned.secret), 429)
    assert limited.headers["RateLimit-Limit"] in {"2", None}
    change(committed, "limits.proxy_per_minute", "5000")
    assert within_a_second(lambda: proxy.get("/echo", owned.secret), 200).headers["RateLimit-Limit"] == "5000"
    change(committed, "sessions.device_policy", "required")
    missing = within_a_second(lambda: proxy.get("/echo", owned.secret), 403)
    assert json.loads(missing.body)["code"] == "device_missing"
    change(committed, "limits.failures_per_minute", "1")
    within_a_second(lambda: proxy.get("/echo", "x" * 64), 429)

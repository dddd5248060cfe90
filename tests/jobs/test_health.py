"""The health check job stores a report that expires after two minutes."""

import pytest
from redis import Redis

from jobs import health as job
from models.services.gateway.outages import STATE_KEY, UpstreamState
from models.services.monitoring import health_report
from tests.jobs.conftest import Committed


def test_the_report_has_every_component_and_expires_after_two_minutes(shop: Committed, redis: Redis) -> None:
    settings, _sessions = shop
    state = UpstreamState(settings.upstream.url, False, {}, 0.25, "2026-11-24T08:00:00+00:00")
    redis.set(STATE_KEY, state.as_json())
    assert job.check() == "degraded"
    report = health_report.from_json(redis.get(health_report.REPORT_KEY))
    assert report is not None
    assert (report["upstream"].is_up, report["upstream"].seconds) == (False, 0.25)
    assert all(report[part].is_up and report[part].seconds for part in ("database", "redis"))
    assert 110 < redis.ttl(health_report.REPORT_KEY) <= health_report.KEPT_SECONDS


@pytest.mark.parametrize("text", [None, b"", b"{", b"[]", b"{}", b'{"database": 1}', b'{"database": {"x": 1}}'])
def test_a_malformed_report_is_none(text: bytes | None) -> None:
    assert health_report.from_json(text) is None

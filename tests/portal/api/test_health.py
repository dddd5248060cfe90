"""Health in detail: each part timed, for superusers and the ops networks only."""

from redis import Redis

from models.services.monitoring import health_report
from models.services.monitoring.health_report import Check
from tests.portal.api.conftest import Program
from tests.portal.conftest import Browser


def test_details_name_how_long_each_part_took(anonymous: Browser, redis: Redis) -> None:
    answer = anonymous.get("/health/detailed")
    assert answer.json is not None
    assert (answer.status_code, answer.json["status"]) == (200, "healthy")
    for part in ("database", "redis"):
        check = answer.json["checks"][part]
        assert check["status"] == "up"
        assert check["latency_ms"] > 0
        assert check["checked_at"].endswith("Z")
    assert answer.json["checks"]["upstream"] == {"status": "unknown", "latency_ms": None, "checked_at": None}


def test_details_are_the_scheduled_report_while_there_is_one(anonymous: Browser, redis: Redis) -> None:
    report = {
        "database": Check(is_up=False, asked_at="2026-11-24T08:00:00+00:00"),
        "redis": Check(True, 0.001, "2026-11-24T08:00:00+00:00"),
        "upstream": Check(True, 0.0125, "2026-11-24T07:59:58+00:00"),
    }
    redis.set(health_report.REPORT_KEY, health_report.as_json(report))
    answer = anonymous.get("/health/detailed")
    assert answer.json is not None
    assert answer.json["status"] == "unhealthy"
    assert answer.json["checks"]["upstream"] == {
        "status": "up",
        "latency_ms": 12.5,
        "checked_at": "2026-11-24T07:59:58Z",
    }


def test_details_are_for_superusers_and_the_ops_networks(
    anonymous: Browser, as_dana: Browser, alices: Program, danas: Program, redis: Redis
) -> None:
    abroad = {"REMOTE_ADDR": "203.0.113.9"}
    assert anonymous.get("/health/detailed", environ_base=abroad).status_code == 403
    assert as_dana.get("/health/detailed", environ_base=abroad).status_code == 403
    forged = {"X-Forwarded-For": "127.0.0.1"}
    assert anonymous.get("/health/detailed", environ_base=abroad, headers=forged).status_code == 403
    # From this machine, but through an undeclared proxy: the client's address is unknown, so it is not an ops network.
    assert anonymous.get("/health/detailed", headers=forged).status_code == 403
    assert anonymous.get("/health", environ_base=abroad).status_code == 200
    for caller, status in ((alices, 403), (danas, 200)):
        answer = caller.client.get("/health/detailed", environ_base=abroad, headers=caller.headers)
        assert (answer.status_code, answer.mimetype) == (status, "application/json")

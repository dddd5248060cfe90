"""Schemas of the health endpoints."""

from typing import Literal

from portal.api.schemas.common import Schema

Status = Literal["healthy", "degraded", "unhealthy"]
Word = Literal["up", "down", "unknown"]


class Checks(Schema):
    """Status of each component."""

    database: Word
    redis: Word
    upstream: Word


class Health(Schema):
    """Unhealthy without database or Redis, degraded while the upstream is out."""

    status: Status
    timestamp: str
    checks: Checks


class Check(Schema):
    """Status of one component, its response time, and the time of the check."""

    status: Word
    latency_ms: float | None
    checked_at: str | None


class DetailedChecks(Schema):
    """Status of each component, in detail."""

    database: Check
    redis: Check
    upstream: Check


class DetailedHealth(Schema):
    """Health of the platform by component."""

    status: Status
    timestamp: str
    checks: DetailedChecks


HEALTH_EXAMPLE = {
    "status": "healthy",
    "timestamp": "2026-11-24T08:15:00Z",
    "checks": {"database": "up", "redis": "up", "upstream": "up"},
}
_CHECK = {"status": "up", "latency_ms": 0.8, "checked_at": "2026-11-24T08:14:40Z"}
DETAILED_EXAMPLE = {
    **HEALTH_EXAMPLE,
    "checks": {"database": _CHECK, "redis": _CHECK, "upstream": {**_CHECK, "latency_ms": 12.5}},
}

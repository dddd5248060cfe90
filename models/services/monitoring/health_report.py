"""Platform health report: what each component's check found, and the overall status.

A job checks every 50 seconds and keeps its report in Redis for 120: a missing report means that nothing checks any
more.
"""

import json
from dataclasses import asdict, dataclass

REPORT_KEY = "zenzefi:health"
CHECKED_EVERY_SECONDS = 50
KEPT_SECONDS = 120
PARTS = ("database", "redis", "upstream")


@dataclass(frozen=True, slots=True)
class Check:
    """Result of a check: whether the component is up (None: unknown), its response time, and when it was checked."""

    is_up: bool | None
    seconds: float | None = None
    asked_at: str | None = None

    @property
    def word(self) -> str:
        return {True: "up", False: "down", None: "unknown"}[self.is_up]


type Report = dict[str, Check]


def status_of(report: Report) -> str:
    """Unhealthy without database or Redis, degraded while the upstream is down (docs/spec/business-rules.md#health)."""
    if not all(report[part].is_up for part in ("database", "redis")):
        return "unhealthy"
    return "degraded" if report["upstream"].is_up is False else "healthy"


def as_json(report: Report) -> str:
    """Encode a report for Redis."""
    return json.dumps({part: asdict(check) for part, check in report.items()})


def from_json(text: str | bytes | None) -> Report | None:
    """Decode the last report; None when it is missing or malformed."""
    try:
        found = json.loads(text or "")
        return {part: Check(**found[part]) for part in PARTS}
    except (ValueError, TypeError, KeyError):
        return None

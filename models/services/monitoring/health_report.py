"""How the platform is: what each part's check found, and what follows from all of them.

A job asks every 50 seconds and leaves its report in Redis for 120: who reads it knows when each part was asked, and a
report that has gone means that nobody asks any more.
"""

import json
from dataclasses import asdict, dataclass

REPORT_KEY = "zenzefi:health"
CHECKED_EVERY_SECONDS = 50
KEPT_SECONDS = 120
PARTS = ("database", "redis", "upstream")


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found: is the part up (None: nobody knows), how long it took to answer, and when it was asked."""

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
    """Write a report down for Redis."""
    return json.dumps({part: asdict(check) for part, check in report.items()})


def from_json(text: str | bytes | None) -> Report | None:
    """Read the last report; None when there is none that can be understood."""
    try:
        found = json.loads(text or "")
        return {part: Check(**found[part]) for part in PARTS}
    except (ValueError, TypeError, KeyError):
        return None

"""JSON responses of the gateway itself: token status. Pure functions."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from models.services.gateway.token_lookup import TokenSnapshot

NO_STORE = ("Cache-Control", "no-store")


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete reply of ours, as JSON."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (NO_STORE,)


def as_json(value: dict[str, Any], status: int = 200) -> Answer:
    """Return a JSON reply that no cache keeps."""
    return Answer(status, json.dumps(value, separators=(",", ":")).encode())


def token_status(snapshot: TokenSnapshot, moment: datetime) -> Answer:
    """Return the status of a valid token (docs/spec/http.md#token-status)."""
    state: Literal["ready", "active", "paused"]
    if not snapshot.is_activated and not snapshot.is_paused(moment):
        state, left = "ready", None
    elif snapshot.is_paused(moment) or snapshot.expires_at is None:
        state, left = "paused", snapshot.seconds_left
    else:
        state, left = "active", max(0, int((snapshot.expires_at - moment).total_seconds()))
    return as_json(
        {
            "connected": True,
            "user_id": str(snapshot.user_id),
            "token_id": str(snapshot.token_id),
            "is_activated": snapshot.is_activated,
            "status": state,
            "expires_at": iso(snapshot.expires_at) if state == "active" and snapshot.expires_at else None,
            "duration_hours": snapshot.duration_hours,
            "time_remaining_seconds": left,
        }
    )


def iso(moment: datetime) -> str:
    """Write a UTC time as ISO-8601 with Z."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")

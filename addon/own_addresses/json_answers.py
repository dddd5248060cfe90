"""JSON answers of the gateway's own addresses, among them the status of a token. Pure functions."""

import json
from datetime import datetime
from typing import Any, Literal

from addon.http1.decisions import Local
from models.services.gateway.token_lookup import TokenSnapshot

_NO_STORE = (("Cache-Control", "no-store"),)


def json_answer(value: dict[str, Any], status: int = 200) -> Local:
    """Return a JSON answer that no cache stores."""
    return Local(status, json.dumps(value, separators=(",", ":")).encode(), headers=_NO_STORE)


def token_status(snapshot: TokenSnapshot, moment: datetime) -> Local:
    """Return the status of a valid token (docs/spec/http.md#token-status)."""
    state: Literal["ready", "active", "paused"]
    if not snapshot.is_activated and not snapshot.is_paused(moment):
        state, seconds_left = "ready", None
    elif snapshot.is_paused(moment) or snapshot.expires_at is None:
        state, seconds_left = "paused", snapshot.seconds_left
    else:
        state, seconds_left = "active", max(0, int((snapshot.expires_at - moment).total_seconds()))
    return json_answer(
        {
            "connected": True,
            "user_id": str(snapshot.user_id),
            "token_id": str(snapshot.token_id),
            "is_activated": snapshot.is_activated,
            "status": state,
            "expires_at": iso(snapshot.expires_at) if state == "active" and snapshot.expires_at else None,
            "duration_hours": snapshot.duration_hours,
            "time_remaining_seconds": seconds_left,
        }
    )


def iso(moment: datetime) -> str:
    """Format a UTC time as ISO 8601 with Z."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")

"""Finished exchanges, as the HTTP layer passes them to the policy."""

import uuid
from datetime import timedelta

from addon.http1.exchange import Exchange
from addon.http1.messages.heads import Headers, RequestHead
from models import clock
from models.services.gateway.token_lookup import TokenSnapshot


def make_snapshot(prefix: str = "Abc12345") -> TokenSnapshot:
    """Return the snapshot of a valid token."""
    return TokenSnapshot(
        token_id=uuid.uuid4(),
        user_id=uuid.uuid4(),
        prefix=prefix,
        scope="full",
        duration_hours=1,
        version=1,
        owner_is_active=True,
        is_activated=True,
        is_revoked=False,
        paused_until=None,
        expires_at=clock.now() + timedelta(hours=1),
        seconds_left=3600,
        session_id=None,
        device_id=None,
    )


def ended_exchange(
    path: bytes | None = b"/certificates", *, status: int = 200, code: str = "", seconds: float = 0.02
) -> Exchange:
    """Return an exchange that took so many seconds; without a path its request was malformed."""
    exchange = Exchange("0123456789abcdef-1", 100.0)
    if path is not None:
        exchange.request = RequestHead("GET", path, b"secret=query", False, Headers(b"", [], {}))
    exchange.status, exchange.code = status, code
    exchange.first_byte, exchange.ended = 100.0 + seconds / 2, 100.0 + seconds
    exchange.bytes_in, exchange.bytes_out = 7, 1000
    exchange.client_address = "203.0.113.9"
    return exchange

"""Webhook signatures by the open Standard Webhooks scheme (docs/webhooks.md), for which libraries exist."""

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - the start of every secret, and none itself


def new_secret() -> bytes:
    """Create an endpoint's secret."""
    return os.urandom(SECRET_BYTES)


def mask_secret(secret: bytes) -> str:
    """Return a secret in the form in which its owner sees it, once."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def body_of(delivery_id: str, kind: str, created_at: datetime, data: Mapping[str, Any]) -> bytes:
    """Return the request body."""
    facts = {"id": delivery_id, "type": kind, "created_at": created_at.isoformat(), "data": data}
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def headers(secret: bytes, delivery_id: str, body: bytes, moment: datetime) -> dict[str, str]:
    """Return the headers that authenticate `body`: the id and the time are part of the signed content."""
    timestamp = str(int(moment.timestamp()))
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
    return {"webhook-id": delivery_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}

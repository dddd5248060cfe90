"""Sample contexts for every kind of mail, for admins' previews and for tests."""

from typing import Any

# A new kind adds the variables it needs.
_FACTS: dict[str, Any] = {
    "username": "alice",
    "name": "Laptop",
    "token_id": "3f2b8f3c-6f0e-4c54-9d83-0d6f2f0d5a11",
    "hours": 24,
    "ends": "2026-11-30T12:00:00+00:00",
    "price": "18.00",
    "balance": "12.40",
    "short": "5.60",
    "debt": "18.00",
    "told": "12.00",
    "amount_znc": "50.00",
    "amount_rub": "500.00",
    "reason": "balance",
    "link": "https://shop.example/links/aBcD",
    "old": "alice@example.test",
    "new": "alice@example.org",
    "ip_address": "203.0.113.7",
    "threshold": "15.00",
    "began": "2026-11-24T09:58:00+00:00",
    "ended": "2026-11-24T10:21:00+00:00",
    "at": "2026-11-24T10:00:00+00:00",
    "device": "Firefox, Windows",
    "address": "203.0.113.7",
    "endpoint_id": "0f0d6e50-9a6c-4a4e-8f40-1f1d3d9d7a10",
    "url": "https://example.org/hook",
    "failures": 20,
}
_OWN: dict[str, dict[str, Any]] = {
    "viewed": {"reason": "You asked us to look.", "minutes": 15},
    "two_factor_reset": {"reason": "The phone was lost."},
    "token_revoked": {"reason": "The laptop was reported as stolen."},
    "backup_failed": {"reason": "No space left on device"},
    "announcement": {
        "words": {
            "en": "The service is away on Sunday from 02:00 to 02:30 UTC. Your tokens get this time back.",
            "ru": "Сервис будет недоступен в воскресенье после 02:00 UTC. Это время вернётся вашим токенам.",
        },
    },
    "ledger_fault": {"faults": {"account_balance": ["account 7: 12.00 kept, 11.00 moved"]}},
}


def sample_context(kind: str) -> dict[str, Any]:
    """Return the sample context of a kind of mail."""
    return {**_FACTS, **_OWN.get(kind, {})}

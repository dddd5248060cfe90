"""Made-up facts for every kind of mail, for admins who want to see one and for the test that writes them all."""

from typing import Any

# A new kind adds here what it needs beyond these.
_FACTS: dict[str, Any] = {
    "username": "alice",
    "name": "Laptop",
    "token_id": "3f2b8f3c-6f0e-4c54-9d83-0d6f2f0d5a11",
    "hours": 24,
    "ends": "2026-11-30T12:00:00+00:00",
    "price": "18.00",
    "balance": "12.40",
    "short": "5.60",
    "amount_znc": "50.00",
    "amount_rub": "500.00",
    "reason": "balance",
    "link": "https://shop.example/links/aBcD",
    "old": "alice@example.test",
    "new": "alice@example.org",
    "ip_address": "203.0.113.7",
}
_OWN: dict[str, dict[str, Any]] = {
    "token_revoked": {"reason": "The laptop was reported as stolen."},
    "backup_failed": {"reason": "No space left on device"},
    "ledger_fault": {"faults": {"A balance differs from its transfers": ["account 7: 12.00 kept, 11.00 moved"]}},
}


def of(kind: str) -> dict[str, Any]:
    """Return what a mail of this kind might be about."""
    return {**_FACTS, **_OWN.get(kind, {})}

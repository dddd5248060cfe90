"""Held over all tests: each audit row says which side wrote it, and what a request caused says from where."""

from typing import Any

from sqlalchemy import event

from models.audit import AuditEntry


def hold() -> None:
    """Look at every audit row that this process writes."""
    event.listen(AuditEntry, "before_insert", _look)


def _look(_mapper: Any, _connection: Any, entry: AuditEntry) -> None:
    assert entry.origin is not None, f"{entry.action} does not say which side wrote it"
    assert entry.ip_address or not entry.origin.is_request, f"{entry.action} of a request has no address"

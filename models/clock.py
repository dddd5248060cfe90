"""The only clock: every time in the platform is an aware UTC datetime that comes from here."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one place that may ask

"""Outages of the upstream, as recorded by the prober; requests of buyers never open an outage.

A time without probes is not an outage: after `gap` without a probe, an outage ends at the last failed one.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models import clock
from models.outages import Outage
from models.users import User

# Redis key of the prober's last result, for processes that must not query the database each time.
STATE_KEY = "zenzefi:upstream"
# Shorter periods have no availability: one minute without an outage is not "100 %".
MIN_OBSERVED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A period in which the upstream was down."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Availability:
    """Uptime of the service: the current outage, and number and duration of outages over some days.

    `since` is the start of the record; None without one. `is_whole`: the record
    covers all of `days`.
    """

    out_since: datetime | None
    days: int
    outages: int
    out_seconds: int
    since: datetime | None
    watched: timedelta

    @property
    def is_whole(self) -> bool:
        return self.watched >= timedelta(days=self.days)

    @property
    def share(self) -> float | None:
        """The share of the recorded time in which the upstream was up, from 0 to 1; None before the first day."""
        if self.watched < MIN_OBSERVED:
            return None
        return 1 - self.out_seconds / self.watched.total_seconds()


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """The prober's last result: whether an outage is open, and which addresses of the upstream responded.

    `upstream` is the configured upstream, so that a changed configuration does not inherit the old state. The last
    probe started at `asked_at` and took `seconds`; `certificate_ends` is the earliest expiry of the certificates
    that the upstream presented (Unix time).
    """

    upstream: str
    is_up: bool
    addresses: dict[str, bool]
    seconds: float | None = None
    asked_at: str | None = None
    certificate_ends: float | None = None

    def as_json(self) -> str:
        """Return the state as JSON for Redis."""
        return json.dumps(asdict(self))


def state_from_json(text: str | bytes | None, upstream: str) -> UpstreamState | None:
    """Parse the state of `upstream`; None when it is missing, malformed or of another upstream."""
    try:
        found = UpstreamState(**json.loads(text or ""))
    except (ValueError, TypeError):
        return None
    return found if found.upstream == upstream else None


def note_failure(
    session: Session, *, previous_failed_at: datetime | None, failed_at: datetime, gap: timedelta
) -> Outage | None:
    """Record a failed probe; return the open outage, if any.

    `previous_failed_at` is the time of the probe before if it failed, else None: two
    failures in a row open an outage that began with the first.
    """
    held = _open(session)
    if held is not None:
        if failed_at - held.last_failed_at <= gap:
            held.last_failed_at = max(held.last_failed_at, failed_at)
            session.flush()
            return held
        held.closed_at = held.last_failed_at
        session.flush()
    if previous_failed_at is None or failed_at - previous_failed_at > gap:
        return None
    # There is one prober; if there were two, the unique index would let one of them open the outage.
    first, last = sorted((previous_failed_at, failed_at))
    session.execute(insert(Outage).values(opened_at=first, last_failed_at=last).on_conflict_do_nothing())
    return _open(session)


def note_success(session: Session, *, moment: datetime, gap: timedelta) -> Outage | None:
    """Record a successful probe; return the outage that it closed, if any."""
    held = _open(session)
    if held is not None:
        held.closed_at = max(end_of(held, moment, gap), held.last_failed_at)
        session.flush()
    return held


def current_outage(session: Session, gap: timedelta) -> Outage | None:
    """Return the open outage, if any."""
    held = session.scalars(select(Outage).where(Outage.closed_at.is_(None))).one_or_none()
    return None if held is None or clock.now() - held.last_failed_at > gap else held


def outages_between(session: Session, start: datetime, end: datetime, gap: timedelta) -> list[Period]:
    """Return the outages between `start` and `end`, oldest first."""
    moment = clock.now()
    rows = session.scalars(
        select(Outage)
        .where(Outage.opened_at < end, func.coalesce(Outage.closed_at, moment) > start)
        .order_by(Outage.opened_at)
    )
    periods = [Period(max(row.opened_at, start), min(end_of(row, moment, gap), end)) for row in rows]
    return [period for period in periods if period.start < period.end]


def load_availability(session: Session, *, days: int, gap: timedelta) -> Availability:
    """Return the current state and the uptime over the last days, or since the installation if that is later.

    The first account is created at the installation, so there are no probes before it.
    """
    moment = clock.now()
    installed = session.scalar(select(User.created_at).order_by(User.created_at).limit(1))
    since = None if installed is None else max(installed, moment - timedelta(days=days))
    watched = timedelta() if since is None else max(moment - since, timedelta())
    periods = outages_between(session, since or moment - timedelta(days=days), moment, gap)
    last = periods[-1] if periods else None
    out = sum((period.end - period.start for period in periods), timedelta())
    out_since = last.start if last and last.end == moment else None
    return Availability(out_since, days, len(periods), int(out.total_seconds()), since, watched)


def _open(session: Session) -> Outage | None:
    return session.scalars(
        select(Outage).where(Outage.closed_at.is_(None)).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()


def end_of(outage: Outage, moment: datetime, gap: timedelta) -> datetime:
    """Return the end of an outage: without recent probes, an open one ends at the last failed probe."""
    if outage.closed_at is not None:
        return outage.closed_at
    return moment if moment - outage.last_failed_at <= gap else outage.last_failed_at

"""The outage record: what one prober has seen of the upstream. Buyers' requests never open an outage.

A time without probes is no outage: after `gap` without a word from the prober, an outage ends where it was last seen.
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

# Where the prober leaves its last word in Redis, for everybody who must not ask the database each time.
STATE_KEY = "zenzefi:upstream"
# A share of less time than this says nothing: one minute without an outage is no "100 %".
MIN_OBSERVED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A time in which the upstream was out."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Availability:
    """Uptime of the service: the current outage, and number and duration of outages over some days.

    `since` is when the record begins; None for an installation that has none yet. `is_whole` says whether the record
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
        """The part of the watched time in which it was there, from 0 to 1; None before there is a day to judge by."""
        if self.watched < MIN_OBSERVED:
            return None
        return 1 - self.out_seconds / self.watched.total_seconds()


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """The prober's last word: is an outage open, and which of the upstream's addresses answered?

    `upstream` says whose state it is, so that a change of the configuration does not inherit the old one's. The last
    probe began at `asked_at` and took so many `seconds`; `certificate_ends` is when the first of the certificates ends
    that the upstream showed it (Unix time).
    """

    upstream: str
    is_up: bool
    addresses: dict[str, bool]
    seconds: float | None = None
    asked_at: str | None = None
    certificate_ends: float | None = None

    def as_json(self) -> str:
        """Write it down for Redis."""
        return json.dumps(asdict(self))


def state_from_json(text: str | bytes | None, upstream: str) -> UpstreamState | None:
    """Read the prober's last word about `upstream`; None when there is none that can be understood."""
    try:
        found = UpstreamState(**json.loads(text or ""))
    except (ValueError, TypeError):
        return None
    return found if found.upstream == upstream else None


def note_failure(
    session: Session, *, previous_failed_at: datetime | None, failed_at: datetime, gap: timedelta
) -> Outage | None:
    """Record a failed probe; returns the outage that is open now, if one is.

    `previous_failed_at` is when the probe right before this one failed, None if it was good or there was none: two
    failures in a row open an outage, and it began with the first.
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
    # There is one prober only; should there ever be two, the index lets one of them open the outage.
    first, last = sorted((previous_failed_at, failed_at))
    session.execute(insert(Outage).values(opened_at=first, last_failed_at=last).on_conflict_do_nothing())
    return _open(session)


def note_success(session: Session, *, moment: datetime, gap: timedelta) -> Outage | None:
    """Record a good probe; returns the outage that it closed, if one was open."""
    held = _open(session)
    if held is not None:
        held.closed_at = max(end_of(held, moment, gap), held.last_failed_at)
        session.flush()
    return held


def current_outage(session: Session, gap: timedelta) -> Outage | None:
    """Return the outage that is under way, if there is one."""
    held = session.scalars(select(Outage).where(Outage.closed_at.is_(None))).one_or_none()
    return None if held is None or clock.now() - held.last_failed_at > gap else held


def outages_between(session: Session, start: datetime, end: datetime, gap: timedelta) -> list[Period]:
    """Return the times between `start` and `end` in which the upstream was out, oldest first."""
    moment = clock.now()
    rows = session.scalars(
        select(Outage)
        .where(Outage.opened_at < end, func.coalesce(Outage.closed_at, moment) > start)
        .order_by(Outage.opened_at)
    )
    periods = [Period(max(row.opened_at, start), min(end_of(row, moment, gap), end)) for row in rows]
    return [period for period in periods if period.start < period.end]


def load_availability(session: Session, *, days: int, gap: timedelta) -> Availability:
    """Return how the service is now, and how it was over the last days, or since the installation if that is later.

    The first account is made when the platform is installed, so nothing was watched before it.
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
    """Return until when an outage counts: one that nobody has looked at for long, until it was last seen."""
    if outage.closed_at is not None:
        return outage.closed_at
    return moment if moment - outage.last_failed_at <= gap else outage.last_failed_at

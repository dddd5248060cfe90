"""Checks of the clocks of PostgreSQL, Redis and the upstream: tokens, logins and signatures depend on them."""

import http.client
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime

from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from models import clock
from ops.doctor.connectivity import ask_upstream
from ops.doctor.databases import connect
from ops.doctor.findings import Finding, Installation, Section

CLOSE_SECONDS = 2.0
# A `Date` header has whole seconds and is the time at which the response was generated.
CLOSE_TO_UPSTREAM_SECONDS = 30.0


def examine(installation: Installation) -> Iterator[Finding]:
    """Compare this machine's clock with the others; servers that do not answer have a check of their own."""
    for name, ask in (("PostgreSQL", _postgres), ("Redis", _redis)):
        try:
            off = ask(installation)
        except (SQLAlchemyError, RedisError):
            yield _unreachable(name)
        else:
            yield _comparison(name, off, CLOSE_SECONDS)
    if installation.settings.upstream.url:
        try:
            stamp = ask_upstream(installation.settings.upstream).date
        except (OSError, http.client.HTTPException):
            yield _unreachable("The upstream")
        else:
            if stamp:
                off = parsedate_to_datetime(stamp).timestamp() - clock.now().timestamp()
                yield _comparison("The upstream", off, CLOSE_TO_UPSTREAM_SECONDS, is_ours=False)


def _postgres(installation: Installation) -> float:
    with installation.sessions() as session:
        session.connection()  # the time to connect must not count as an offset
        before = clock.now()
        theirs: datetime = session.scalars(select(func.clock_timestamp())).one()
        return _offset(theirs.timestamp(), before)


def _redis(installation: Installation) -> float:
    with connect(installation.settings.redis.url) as redis:
        redis.ping()
        before = clock.now()
        seconds, microseconds = redis.time()
        return _offset(float(seconds) + float(microseconds) / 1e6, before)


def _offset(theirs: float, before: datetime) -> float:
    """Return the offset in seconds of a clock read between `before` and now, against the middle of that time."""
    return theirs - (before.timestamp() + clock.now().timestamp()) / 2


def _comparison(name: str, off: float, close: float, *, is_ours: bool = True) -> Finding:
    do = "Let chrony or systemd-timesyncd keep the time on every machine: timedatectl set-ntp true."
    if not is_ours:
        do = "Inform the operator of the upstream: browsers may reject what it signs or dates."
    seen = f"{off:+.1f} s" if abs(off) >= 0.05 else "the same"
    return Finding(f"{name}'s clock agrees with ours", abs(off) <= close, seen, do, Section.CLOCKS, is_urgent=is_ours)


def _unreachable(name: str) -> Finding:
    return Finding(f"{name}'s clock agrees with ours", False, "it does not answer", see=Section.CLOCKS, is_urgent=False)

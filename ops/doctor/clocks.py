"""Do all clocks agree? Tokens, logins and signatures live by them."""

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
# A `Date` header has whole seconds, and tells when the answer was made.
CLOSE_TO_UPSTREAM_SECONDS = 30.0


def examine(house: Installation) -> Iterator[Finding]:
    """Compare our clock with each other one that can be asked; who does not answer is told elsewhere."""
    for name, ask in (("PostgreSQL", _postgres), ("Redis", _redis)):
        try:
            off = ask(house)
        except (SQLAlchemyError, RedisError):
            yield _unreachable(name)
        else:
            yield _comparison(name, off, CLOSE_SECONDS)
    if house.settings.upstream.url:
        try:
            stamp = ask_upstream(house.settings.upstream).date
        except (OSError, http.client.HTTPException):
            yield _unreachable("The upstream")
        else:
            if stamp:
                off = parsedate_to_datetime(stamp).timestamp() - clock.now().timestamp()
                yield _comparison("The upstream", off, CLOSE_TO_UPSTREAM_SECONDS, is_ours=False)


def _postgres(house: Installation) -> float:
    with house.sessions() as session:
        session.connection()  # what it takes to connect must not look like a clock that goes wrong
        before = clock.now()
        theirs: datetime = session.scalars(select(func.clock_timestamp())).one()
        return _offset(theirs.timestamp(), before)


def _redis(house: Installation) -> float:
    with connect(house.settings.redis.url) as redis:
        redis.ping()
        before = clock.now()
        seconds, microseconds = redis.time()
        return _offset(float(seconds) + float(microseconds) / 1e6, before)


def _offset(theirs: float, before: datetime) -> float:
    """Compare a clock that was asked at `before` with the middle of the time that the question took."""
    return theirs - (before.timestamp() + clock.now().timestamp()) / 2


def _comparison(name: str, off: float, close: float, *, is_ours: bool = True) -> Finding:
    do = "Let chrony or systemd-timesyncd keep the time on every machine: timedatectl set-ntp true."
    if not is_ours:
        do = "Tell whoever runs the upstream; what it signs or dates may be refused by browsers."
    seen = f"{off:+.1f} s" if abs(off) >= 0.05 else "the same"
    return Finding(f"{name}'s clock agrees with ours", abs(off) <= close, seen, do, Section.CLOCKS, is_urgent=is_ours)


def _unreachable(name: str) -> Finding:
    return Finding(f"{name}'s clock agrees with ours", False, "it does not answer", see=Section.CLOCKS, is_urgent=False)

"""One round: every subject examined at the same time, none of them for longer than the others wait."""

import threading
import time
from collections.abc import Iterator, Sequence

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from jobs.queues import QueueDown
from models.database import LimitsNotApplied
from ops.console import Failure
from ops.doctor.findings import Finding, Installation, Section, Subject

LIMIT_SECONDS = 9.0


class _Examination:
    """One subject under examination, in a thread of its own that nobody waits for at the end."""

    def __init__(self, subject: Subject, house: Installation) -> None:
        self.subject = subject
        self.findings: list[Finding] = []
        self._house = house
        self._thread = threading.Thread(target=self._run, name=f"doctor-{subject.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for finding in self.subject.examine(self._house):
                self.findings.append(finding)
        except Exception as error:  # noqa: BLE001 - whatever is broken, the others are still examined
            self.findings.append(_unexamined(self.subject, error))

    def findings_until(self, deadline: float | None) -> list[Finding]:
        """Return what was found by then, and a finding more when that is not all."""
        self._thread.join(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        found = list(self.findings)
        if self._thread.is_alive():
            seen, do = f"no answer in {LIMIT_SECONDS:.0f} s", f"./zenzefi doctor {self.subject.name} waits longer."
            found.append(Finding(f"{self.subject.name} can be examined", False, seen, do, Section.SLOW))
        return found


def findings(subjects: Sequence[Subject], house: Installation) -> Iterator[tuple[Subject, Finding]]:
    """Examine all subjects side by side and yield what was found in their order."""
    visits = [_Examination(subject, house) for subject in subjects]
    deadline = time.monotonic() + LIMIT_SECONDS if house.is_quick else None
    for visit in visits:
        for finding in visit.findings_until(deadline):
            yield visit.subject, finding


def _unexamined(subject: Subject, error: Exception) -> Finding:
    """Tell what kept us from examining: mostly a server that is down, which has a line of its own."""
    what, first = f"{subject.name} can be examined", (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, Failure):
        return Finding(what, False, first, "Do what the sentence says, and examine it again.")
    if isinstance(error, RedisError | QueueDown):
        do = "See that Redis runs: ./zenzefi up starts its own, REDIS_URL names any other. Known tokens pass meanwhile."
        return Finding(what, False, f"Redis: {first}", do, Section.REDIS)
    if isinstance(error, LimitsNotApplied):
        do = "Let the pooler run in session or transaction mode, or point DATABASE_URL at PostgreSQL itself."
        return Finding(what, False, first, do, Section.POOLERS)
    if isinstance(error, SQLAlchemyError):
        reason = str(getattr(error, "orig", None) or first).strip().splitlines()[0]
        do = "See that PostgreSQL runs, and its log: ./zenzefi up starts its own, DATABASE_URL names any other."
        return Finding(what, False, f"PostgreSQL: {reason}", do, Section.POSTGRESQL)
    do = "This is a fault of ours: please report it with this line."
    return Finding(what, False, f"{type(error).__name__}: {first}", do, Section.FAULT)

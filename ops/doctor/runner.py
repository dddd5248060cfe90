"""Run the checks of all subjects in parallel, with a common deadline."""

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
    """One subject, examined in a daemon thread that is abandoned at the deadline."""

    def __init__(self, subject: Subject, installation: Installation) -> None:
        self.subject = subject
        self.findings: list[Finding] = []
        self._installation = installation
        self._thread = threading.Thread(target=self._run, name=f"doctor-{subject.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for finding in self.subject.examine(self._installation):
                self.findings.append(finding)
        except Exception as error:  # noqa: BLE001 - the other subjects must still be examined
            self.findings.append(_unexamined(self.subject, error))

    def findings_until(self, deadline: float | None) -> list[Finding]:
        """Return the findings so far, with one more when the examination has not finished."""
        self._thread.join(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        found = list(self.findings)
        if self._thread.is_alive():
            seen, do = f"no answer in {LIMIT_SECONDS:.0f} s", f"./zenzefi doctor {self.subject.name} has no deadline."
            found.append(Finding(f"{self.subject.name} can be examined", False, seen, do, Section.SLOW))
        return found


def findings(subjects: Sequence[Subject], installation: Installation) -> Iterator[tuple[Subject, Finding]]:
    """Examine all subjects in parallel and yield their findings in order."""
    examinations = [_Examination(subject, installation) for subject in subjects]
    deadline = time.monotonic() + LIMIT_SECONDS if installation.is_quick else None
    for examination in examinations:
        for finding in examination.findings_until(deadline):
            yield examination.subject, finding


def _unexamined(subject: Subject, error: Exception) -> Finding:
    """Return the finding for a failed examination, usually caused by a server that is down."""
    what, first = f"{subject.name} can be examined", (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, Failure):
        return Finding(what, False, first, "Fix it and run the check again.")
    if isinstance(error, RedisError | QueueDown):
        do = (
            "Check that Redis runs: ./zenzefi up starts its own, REDIS_URL names any other. Cached tokens keep working."
        )
        return Finding(what, False, f"Redis: {first}", do, Section.REDIS)
    if isinstance(error, LimitsNotApplied):
        do = "Run the pooler in session or transaction mode, or point DATABASE_URL at PostgreSQL itself."
        return Finding(what, False, first, do, Section.POOLERS)
    if isinstance(error, SQLAlchemyError):
        reason = str(getattr(error, "orig", None) or first).strip().splitlines()[0]
        do = "Check that PostgreSQL runs, and its log: ./zenzefi up starts its own, DATABASE_URL names any other."
        return Finding(what, False, f"PostgreSQL: {reason}", do, Section.POSTGRESQL)
    do = "This is a bug: please report it with this line."
    return Finding(what, False, f"{type(error).__name__}: {first}", do, Section.FAULT)

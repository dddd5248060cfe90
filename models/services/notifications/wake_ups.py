"""Wake-ups: which delivery jobs a transaction has given work to, so that they can be started when it commits."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, scoped_session, sessionmaker

SEND_MAILS, SEND_WEBHOOKS = "jobs.mail.send_pending", "jobs.webhooks.send_pending"
_PENDING = "jobs to wake"


def request(session: Session, job: str) -> None:
    """Request that a job is started when this transaction commits."""
    session.info.setdefault(_PENDING, set()).add(job)


def follow(sessions: sessionmaker[Session] | scoped_session[Any], wake: Callable[[frozenset[str]], None]) -> None:
    """Call `wake` with the requested jobs after each commit of these sessions, if there are any. It must not raise."""

    def committed(session: Session) -> None:
        if session.in_nested_transaction():
            return  # a savepoint may still be rolled back
        requested = session.info.pop(_PENDING, None)
        if requested:
            wake(frozenset(requested))

    def rolled_back(session: Session) -> None:
        # A job requested in a savepoint that was rolled back only finds nothing to do.
        if not session.in_nested_transaction():
            session.info.pop(_PENDING, None)

    event.listen(sessions, "after_commit", committed)
    event.listen(sessions, "after_rollback", rolled_back)

"""Metrics counters derived from a transaction's audit rows and reported when it commits.

The audit rows name each event once and are rolled back with their transaction, so a rolled-back purchase counts for
nothing and no service has to count.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from models.audit import AuditAction, AuditEntry

# One Redis hash for all processes: a field is a counter with its label's value, such as "token_purchases|24".
TOTALS_KEY = "zenzefi:totals:1"
_PENDING = "counted audit rows"

type Totals = Counter[str]


def counts_of(entry: AuditEntry) -> Totals:
    """Return what an audit row counts for."""
    facts = entry.details
    name, by = "", 1
    match entry.action:
        case AuditAction.USER_LOGGED_IN:
            name = "auth_attempts|success"
        case AuditAction.USER_LOGIN_FAILED:
            name = "auth_attempts|failure"
        case AuditAction.TOKEN_PURCHASED:
            name = f"token_purchases|{facts['hours']}"
        case AuditAction.BUNDLE_PURCHASED:
            name, by = f"token_purchases|{facts['hours']}", facts["tokens"]
        case AuditAction.TOKEN_REVOKED | AuditAction.TOKEN_FORCE_REVOKED:
            name = "token_revocations|"
        case AuditAction.PAYMENT_SETTLED:
            name = "balance_deposits|"
    return Counter({name: by}) if name else Counter()


def follow(sessions: sessionmaker[Session] | scoped_session[Any], send: Callable[[Totals], None]) -> None:
    """Call `send` with the counts of each commit of these sessions, if there are any. `send` must not raise."""

    def remember(session: Session, row: Any) -> None:
        if isinstance(row, AuditEntry):
            session.info.setdefault(_PENDING, []).append(row)

    def hand_on(session: Session) -> None:
        if session.in_nested_transaction():
            return  # a savepoint may still be rolled back
        totals: Totals = Counter()
        for row in session.info.pop(_PENDING, ()):
            # Rows rolled back with a savepoint are not in the database any more.
            if not inspect(row).transient:
                totals.update(counts_of(row))
        if totals:
            send(totals)

    def forget(session: Session) -> None:
        if not session.in_nested_transaction():
            session.info.pop(_PENDING, None)

    event.listen(sessions, "pending_to_persistent", remember)
    event.listen(sessions, "after_commit", hand_on)
    event.listen(sessions, "after_rollback", forget)

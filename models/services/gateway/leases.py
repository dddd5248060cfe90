"""Leases: one process at a time holds a task, until it stops renewing it.

A session-level advisory lock would need a connection of its own: behind a pooler in transaction
mode the next client of the server connection would hold it too. A row works everywhere. Its times are the database's,
because the clocks of two machines may differ.
"""

import uuid
from datetime import timedelta

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.leases import Lease


def hold(session: Session, name: str, holder: uuid.UUID, duration: timedelta) -> bool:
    """Acquire a free or expired lease, or renew one's own; return whether the caller has it now.

    The row stays locked until the transaction ends: the holder's writes in it are protected by the lease, since
    another process waits for the end of this transaction.
    """
    moment = func.clock_timestamp()
    row = insert(Lease).values(name=name, holder=holder, expires_at=moment + duration)
    taken = row.on_conflict_do_update(
        index_elements=[Lease.name],
        set_={"holder": row.excluded.holder, "expires_at": row.excluded.expires_at},
        where=(Lease.holder == holder) | (Lease.expires_at < moment),
    ).returning(Lease.name)
    return session.scalar(taken) is not None


def release(session: Session, name: str, holder: uuid.UUID) -> None:
    """Release a lease, so that another process need not wait until it expires."""
    session.execute(delete(Lease).where(Lease.name == name, Lease.holder == holder))

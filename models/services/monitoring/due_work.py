"""Kinds of background work that are due now, found by one statement of cheap conditions."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.services.accounts import email_links
from models.services.audit import hash_chain
from models.services.notifications import outbox
from models.services.payments import callbacks, refunds, status_checks
from models.services.tokens import debt_pauses, outage_credit, pause
from models.services.webhooks import deliveries

_QUERIES: Mapping[str, Callable[[Settings], Select[Any]]] = {
    "links": lambda _: email_links.requested(),
    "mails": lambda _: outbox.pending(),
    "deliveries": lambda _: deliveries.pending(),
    "pauses": lambda _: pause.ended(),
    "debts": debt_pauses.differing,
    "outages": lambda _: outage_credit.uncredited(),
    "callbacks": lambda _: callbacks.unprocessed(callbacks.SWEEP_AFTER),
    "refunds": lambda _: refunds.unsent(callbacks.SWEEP_AFTER),
    "checks": lambda _: status_checks.unchecked(),
}
KINDS = (*_QUERIES, "audit")


def find(session: Session, settings: Settings) -> list[str]:
    """Return the kinds of work that are due, of `KINDS`. Each query is served by a partial index or reads few rows."""
    asked = select(*(query(settings).exists().label(kind) for kind, query in _QUERIES.items()))
    found = [kind for kind, is_due in session.execute(asked).mappings().one().items() if is_due]
    return [*found, "audit"] if hash_chain.has_new_rows(session) else found

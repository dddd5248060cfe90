"""Business metrics: counts of users, tokens and payments, backlogs and their age, ledger and audit checks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from models import clock
from models.audit_chain import AuditCheck
from models.ledger import Account, LedgerCheck
from models.outbox import OutboxMail
from models.payments import Payment, PaymentEvent, PaymentReversal, PaymentStatus, ReversalState
from models.services.audit import hash_chain
from models.services.audit import verification as chain_verification
from models.services.ledger import verification as ledger_verification
from models.services.reports import overview
from models.services.reports.overview import ShopOverview
from models.webhooks import WebhookDelivery, WebhookEndpoint

# Permanent failures older than this are not counted.
FAILED_WITHIN = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class _BacklogQuery:
    """A backlog: its pending rows, since when they are due, and when one failed permanently, if ever.

    A row that may not be tried yet is not due.
    """

    waits: tuple[ColumnElement[bool], ...]
    due: InstrumentedAttribute[Any]
    given_up: InstrumentedAttribute[Any] | None = None
    may_be_tried: ColumnElement[bool] | None = None

    @property
    def is_due(self) -> tuple[ColumnElement[bool], ...]:
        return self.waits if self.may_be_tried is None else (*self.waits, self.may_be_tried)


def _takes_deliveries() -> ColumnElement[bool]:
    """Return an SQL condition: the endpoint is enabled and does not back off."""
    rests_until = WebhookEndpoint.rests_until
    return WebhookEndpoint.enabled & or_(rests_until.is_(None), rests_until <= func.now())


# Each is served by a partial index on just these rows.
_BACKLOGS: Mapping[str, _BacklogQuery] = {
    "mail": _BacklogQuery(
        (OutboxMail.sent_at.is_(None), OutboxMail.failed_at.is_(None)),
        OutboxMail.next_attempt_at,
        OutboxMail.failed_at,
    ),
    "webhook": _BacklogQuery(
        (WebhookDelivery.delivered_at.is_(None), WebhookDelivery.dead_at.is_(None)),
        WebhookDelivery.next_attempt_at,
        WebhookDelivery.dead_at,
        WebhookDelivery.endpoint.has(_takes_deliveries()),
    ),
    "callback": _BacklogQuery((PaymentEvent.processed_at.is_(None),), PaymentEvent.received_at),
    "payment": _BacklogQuery((Payment.status == PaymentStatus.PENDING,), Payment.expires_at),
    "refund": _BacklogQuery((PaymentReversal.state == ReversalState.REQUESTED,), PaymentReversal.created_at),
}


@dataclass(frozen=True, slots=True)
class Backlog:
    """Number of pending rows, seconds that the first has been due (0: none is), and recent permanent failures."""

    count: int
    due_seconds: float
    given_up: int | None


@dataclass(frozen=True, slots=True)
class BusinessMetrics:
    """All figures; `check` and `audit_check` are the last verifications, `accounts` the platform's balances in ZNC."""

    shop: ShopOverview
    waiting: Mapping[str, Backlog]
    to_review: int
    check: LedgerCheck | None
    audit_check: AuditCheck | None
    accounts: Mapping[str, Decimal]


def collect(session: Session) -> BusinessMetrics:
    """Query all figures, in few statements."""
    moment = clock.now()
    reviews = (PaymentEvent.needs_review, PaymentEvent.reviewed_at.is_(None))
    asked: list[Any] = [select(func.count()).select_from(PaymentEvent).where(*reviews)]
    for line in _BACKLOGS.values():
        asked += [
            select(func.count(line.due)).where(*line.waits),
            select(func.min(line.due)).where(*line.is_due),
        ]
        if line.given_up is not None:
            asked.append(select(func.count(line.given_up)).where(line.given_up > moment - FAILED_WITHIN))
    found = iter(session.execute(select(*(question.scalar_subquery() for question in asked))).one())
    to_review = next(found)
    waiting = {
        name: Backlog(next(found), _since(next(found), moment), next(found) if line.given_up is not None else None)
        for name, line in _BACKLOGS.items()
    }
    log = hash_chain.status(session)
    waiting["audit"] = Backlog(log.waiting, log.seconds, None)
    own = select(Account.kind, Account.balance).where(Account.user_id.is_(None))
    return BusinessMetrics(
        shop=overview.shop_overview(session),
        waiting=waiting,
        to_review=to_review,
        check=ledger_verification.last_check(session),
        audit_check=chain_verification.last_check(session),
        accounts={kind.value: balance for kind, balance in session.execute(own)},
    )


def _since(due: datetime | None, moment: datetime) -> float:
    return 0.0 if due is None else max(0.0, (moment - due).total_seconds())

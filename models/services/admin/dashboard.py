"""The office's first page: what needs a person, and the figures of the shop."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, DateTime, delete, func, select
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.orm import Session

from models import clock, time_zones
from models.access_tokens import AccessToken
from models.audit_chain import AuditCheck
from models.config.settings import Settings
from models.daily_stats import DailyStats, LedgerCheck
from models.inspections import Inspection
from models.ledger import Transfer, TransferKind
from models.outages import Outage
from models.outbox import OutboxMail
from models.payments import Payment, PaymentStatus
from models.proxy_sessions import ProxySession
from models.services.audit import verification as chain_verification
from models.services.gateway import inspections, outages
from models.services.ledger.verification import Report
from models.services.payments import manual_review
from models.services.tokens import queries as token_queries
from models.users import User
from models.webhooks import WebhookDelivery

DAYS = 30
# A mail or delivery that failed longer ago than this is no news.
FAILED_DAYS = 7
# The books are verified each night; a day and a half without is worth a look.
VERIFIED_WITHIN = timedelta(hours=36)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Counts over the whole shop, and the last days; `outage` is open now, `check` the last one of the books.

    Flows are shown of what `inspections` are about.
    """

    reviews: int
    failed_mails: int
    dead_letters: int
    outage: Outage | None
    check: LedgerCheck | None
    is_check_late: bool
    audit_check: AuditCheck | None
    inspections: Sequence[Inspection]
    users: int
    running_tokens: int
    open_sessions: int
    pending_payments: int
    days: Sequence[DailyStats]

    @property
    def sold_today(self) -> Decimal:
        return self.days[-1].sold_znc if self.days else Decimal(0)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing needs a person now."""
        books_are_sound = self.check is not None and self.check.is_sound and not self.is_check_late
        log_is_sound = self.audit_check is None or self.audit_check.is_sound
        waits = self.reviews or self.failed_mails or self.dead_letters or self.outage
        return not waits and books_are_sound and log_is_sound


def load_dashboard(session: Session, settings: Settings) -> Dashboard:
    """Return what an admin sees first."""
    moment = clock.now()
    check = session.scalars(select(LedgerCheck).order_by(LedgerCheck.id.desc()).limit(1)).one_or_none()
    lately = moment - timedelta(days=FAILED_DAYS)
    failed = select(func.count()).where(OutboxMail.failed_at > lately)
    dead = select(func.count()).where(WebhookDelivery.dead_at > lately)
    # Not of the ids: they are not in the index, and a hundred thousand rows would be fetched for them.
    running = select(func.count()).select_from(AccessToken).where(token_queries.is_running(moment))
    # One question for all the counts: a page must not ask for each.
    counts = (
        failed,
        dead,
        select(func.count()).select_from(User),
        running,
        select(func.count()).where(ProxySession.ended_at.is_(None)),
        select(func.count()).where(Payment.status == PaymentStatus.PENDING),
    )
    found = session.execute(select(*(count.scalar_subquery() for count in counts))).one()
    failed_mails, dead_letters, people, running_tokens, open_sessions, pending_payments = found
    return Dashboard(
        reviews=manual_review.count(session),
        failed_mails=failed_mails,
        dead_letters=dead_letters,
        outage=outages.current(session, settings.upstream.probe_gap),
        check=check,
        is_check_late=check is not None and moment - check.checked_at > VERIFIED_WITHIN,
        audit_check=chain_verification.last_check(session),
        inspections=inspections.shown(session),
        users=people,
        running_tokens=running_tokens,
        open_sessions=open_sessions,
        pending_payments=pending_payments,
        days=_days(session, time_zones.day_of(moment, settings.platform.zone)),
    )


def note_check(session: Session, report: Report) -> LedgerCheck:
    """Keep what a verification of the books has found."""
    faults = {rule: rows[:10] for rule, rows in report.faults.items()}
    check = LedgerCheck(is_sound=report.is_sound, faults=faults)
    session.add(check)
    session.flush()
    return check


def count_days(session: Session, zone_name: str = time_zones.DEFAULT) -> int:
    """Count today and yesterday anew, and all days there are at first or in another zone; returns how many days.

    Days are those of the zone. The same ones may have been counted in another one before.
    """
    zone = time_zones.zone_of(zone_name)
    session.execute(delete(DailyStats).where(DailyStats.time_zone != zone_name))
    today = time_zones.day_of(clock.now(), zone)
    known = session.scalar(select(func.max(DailyStats.day)))
    first = min(today - timedelta(days=1), known) if known else _first_day(session, today, zone)
    starts = time_zones.starts_of(first, today, zone)
    bought = Transfer.kind == TransferKind.PURCHASE
    count = _by_day(session, Transfer.created_at, func.count(), starts, bought)
    sold = _by_day(session, Transfer.created_at, func.sum(Transfer.amount), starts, bought)
    paid = _by_day(session, Payment.settled_at, func.sum(Payment.amount_rub), starts)
    come = _by_day(session, User.created_at, func.count(), starts)
    days = [first + timedelta(days=number) for number in range((today - first).days + 1)]
    rows = [
        {
            "day": day,
            "sold_znc": sold.get(number, Decimal(0)),
            "revenue_rub": paid.get(number, Decimal(0)),
            "new_users": int(come.get(number, 0)),
            "purchases": int(count.get(number, 0)),
            "time_zone": zone_name,
        }
        for number, day in enumerate(days, start=1)
    ]
    statement = insert(DailyStats).values(rows)
    fresh = {name: statement.excluded[name] for name in ("sold_znc", "revenue_rub", "new_users", "purchases")}
    session.execute(statement.on_conflict_do_update(index_elements=[DailyStats.day], set_=fresh))
    return len(rows)


def _first_day(session: Session, today: date, zone: tzinfo) -> date:
    """Return the day of the first purchase or user, or the first that the office's page shows, if that is earlier."""
    first = today - timedelta(days=DAYS - 1)
    for at in (Transfer.created_at, User.created_at):
        moment = session.scalar(select(func.min(at)))
        first = min(first, time_zones.day_of(moment, zone)) if moment else first
    return first


def _by_day(
    session: Session, at: Any, figure: ColumnElement[Any], starts: Sequence[datetime], *which: ColumnElement[bool]
) -> dict[int, Any]:
    """Return a figure of each day, by the number of the day from 1."""
    number = func.width_bucket(at, array(starts, type_=DateTime(timezone=True))).label("number")
    rows = session.execute(select(number, figure).where(at >= starts[0], *which).group_by("number"))
    return {row[0]: row[1] for row in rows}


def _days(session: Session, today: date) -> Sequence[DailyStats]:
    """Return the last days, oldest first; a day that was not counted yet is a day of nothing."""
    first = today - timedelta(days=DAYS - 1)
    found = {row.day: row for row in session.scalars(select(DailyStats).where(DailyStats.day >= first))}
    nothing = {"sold_znc": Decimal(0), "revenue_rub": Decimal(0), "new_users": 0}
    days = [first + timedelta(days=number) for number in range(DAYS)]
    return [found.get(day) or DailyStats(day=day, **nothing) for day in days]

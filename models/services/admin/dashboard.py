"""Admin dashboard: items that need attention, and counts and statistics of the platform."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import clock, time_zones
from models.access_tokens import AccessToken
from models.audit_chain import AuditCheck
from models.config.settings import Settings
from models.daily_stats import DailyStats
from models.inspections import Inspection
from models.ledger import AccountKind, LedgerCheck
from models.outages import Outage
from models.outbox import OutboxMail
from models.payments import Payment, PaymentStatus
from models.proxy_sessions import ProxySession
from models.services.audit import verification as chain_verification
from models.services.gateway import inspections, outages
from models.services.ledger import transfers
from models.services.ledger import verification as ledger_verification
from models.services.payments import manual_review
from models.services.reports import daily_stats
from models.services.tokens import queries as token_queries
from models.users import User
from models.webhooks import WebhookDelivery

# Mails and deliveries that failed longer ago are no longer shown.
FAILED_DAYS = 7
# The ledger is verified each night; after a day and a half without a check the dashboard warns.
VERIFIED_WITHIN = timedelta(hours=36)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Platform-wide counts and daily statistics; `outage` is the open one, `check` the last ledger verification.

    `inspections` are the running ones.
    """

    reviews: int
    unclaimed: Decimal
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
        """Whether nothing needs attention."""
        books_are_sound = self.check is not None and self.check.is_sound and not self.is_check_late
        log_is_sound = self.audit_check is None or self.audit_check.is_sound
        waits = self.reviews or self.unclaimed or self.failed_mails or self.dead_letters or self.outage
        return not waits and books_are_sound and log_is_sound


def load_dashboard(session: Session, settings: Settings) -> Dashboard:
    """Return the content of the admin dashboard."""
    moment = clock.now()
    check = ledger_verification.last_check(session)
    lately = moment - timedelta(days=FAILED_DAYS)
    failed = select(func.count()).where(OutboxMail.failed_at > lately)
    dead = select(func.count()).where(WebhookDelivery.dead_at > lately)
    # Counts rows, not ids: ids are not in the index, and 100,000 rows would be fetched for them.
    running = select(func.count()).select_from(AccessToken).where(token_queries.is_running(moment))
    # One query for all the counts.
    counts = (
        failed,
        dead,
        select(func.count()).select_from(User),
        running,
        select(func.count()).where(ProxySession.ended_at.is_(None)),
        select(func.count()).where(Payment.status == PaymentStatus.PENDING),
    )
    found = session.execute(select(*(count.scalar_subquery() for count in counts))).one()
    failed_mails, dead_letters, user_count, running_tokens, open_sessions, pending_payments = found
    return Dashboard(
        reviews=manual_review.count(session),
        unclaimed=transfers.system_account(session, AccountKind.UNCLAIMED).balance,
        failed_mails=failed_mails,
        dead_letters=dead_letters,
        outage=outages.current_outage(session, settings.upstream.probe_gap),
        check=check,
        is_check_late=check is not None and moment - check.checked_at > VERIFIED_WITHIN,
        audit_check=chain_verification.last_check(session),
        inspections=inspections.list_active(session),
        users=user_count,
        running_tokens=running_tokens,
        open_sessions=open_sessions,
        pending_payments=pending_payments,
        days=daily_stats.last_days(session, time_zones.day_of(moment, settings.platform.zone)),
    )

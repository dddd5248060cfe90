"""Clean-up jobs: idle sessions, expired logins and replies, old notifications; daily statistics and ledger checks."""

import logging
from datetime import timedelta

from jobs import context
from models import clock
from models.services import idempotency
from models.services.accounts import known_devices, logins, roles
from models.services.gateway import sessions
from models.services.ledger import verification as ledger_verification
from models.services.notifications import outbox
from models.services.reports import daily_stats
from models.services.tokens import browser_access
from models.services.webhooks import deliveries

logger = logging.getLogger(__name__)


def close_sessions() -> int:
    """Close idle proxy sessions and those of ended tokens; return the number closed."""
    rules = context.settings().sessions
    with context.sessions().begin() as session:
        return sessions.close_idle_sessions(session, rules) + sessions.close_sessions_of_ended_tokens(session)


def delete_browser_access() -> int:
    """Delete used and expired browser login tickets and cookies; return the number deleted."""
    with context.sessions().begin() as session:
        return browser_access.delete_ended(session)


def delete_ended_logins() -> int:
    """Delete login sessions that have expired; return the number deleted."""
    with context.sessions().begin() as session:
        return logins.delete_ended(session)


def delete_idempotent_replies() -> int:
    """Delete idempotent API replies older than 24 hours; return the number deleted."""
    with context.sessions().begin() as session:
        return idempotency.delete_expired(session)


def delete_old_notifications() -> int:
    """Delete old mails and deliveries, and devices unused for a year; return the number of rows deleted."""
    now, settings = clock.now(), context.settings()
    mails, posts = (now - timedelta(days=rules.keep_days) for rules in (settings.mail, settings.webhooks))
    with context.sessions().begin() as session:
        gone = outbox.delete_before(session, mails) + deliveries.delete_before(session, posts)
        return gone + known_devices.delete_unused(session)


def count_days() -> int:
    """Update the daily statistics of today and yesterday; return the number of days written."""
    with context.sessions().begin() as session:
        return daily_stats.update_days(session, context.settings().platform.time_zone)


def verify_ledger() -> bool:
    """Verify the ledger; log and mail every admin when it fails; return whether it passed."""
    with context.sessions().begin() as session:
        report = ledger_verification.verify(session)
    # The verification runs in a read-only transaction.
    with context.sessions().begin() as session:
        ledger_verification.record_check(session, report)
    for rule, rows in report.faults.items():
        logger.critical("ledger: %s: %s", rule, "; ".join(rows[:10]))
    if not report.is_sound:
        faults = {rule: rows[:10] for rule, rows in report.faults.items()}
        with context.sessions().begin() as session:
            for admin in roles.active_admins(session):
                key = f"ledger_fault:{clock.now():%Y-%m-%d}:{admin.id}"
                outbox.enqueue_mail(
                    session, "ledger_fault", admin, dedup_key=key, username=admin.username, faults=faults
                )
    return report.is_sound

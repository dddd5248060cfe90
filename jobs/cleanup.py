"""Jobs that keep the house in order."""

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
    """Close idle sessions and those whose token has ended; returns how many."""
    rules = context.settings().sessions
    with context.sessions().begin() as session:
        return sessions.close_idle(session, rules) + sessions.close_of_ended_tokens(session)


def delete_browser_access() -> int:
    """Remove browsers' tickets and cookies that open nothing any more; returns how many."""
    with context.sessions().begin() as session:
        return browser_access.delete_ended(session)


def delete_ended_logins() -> int:
    """Remove logins whose time is over; returns how many."""
    with context.sessions().begin() as session:
        return logins.delete_ended(session)


def delete_idempotent_replies() -> int:
    """Remove the API's kept replies whose 24 hours are over; returns how many."""
    with context.sessions().begin() as session:
        return idempotency.delete_expired(session)


def delete_old_notifications() -> int:
    """Remove mails and deliveries that are done with, and devices unused for a year; returns how many rows went."""
    now, settings = clock.now(), context.settings()
    mails, posts = (now - timedelta(days=rules.keep_days) for rules in (settings.mail, settings.webhooks))
    with context.sessions().begin() as session:
        gone = outbox.delete_before(session, mails) + deliveries.delete_before(session, posts)
        return gone + known_devices.delete_unused(session)


def count_days() -> int:
    """Count what today and yesterday brought, for the office's first page; returns how many days were written."""
    with context.sessions().begin() as session:
        return daily_stats.update_days(session, context.settings().platform.time_zone)


def verify_ledger() -> bool:
    """Check the books, and shout and write to every admin when they do not add up; returns whether they do."""
    with context.sessions().begin() as session:
        report = ledger_verification.verify(session)
    # The check reads in a transaction that cannot write.
    with context.sessions().begin() as session:
        ledger_verification.record_check(session, report)
    for rule, rows in report.faults.items():
        logger.critical("ledger: %s: %s", rule, "; ".join(rows[:10]))
    if not report.is_sound:
        faults = {rule: rows[:10] for rule, rows in report.faults.items()}
        with context.sessions().begin() as session:
            for admin in roles.superusers(session):
                key = f"ledger_fault:{clock.now():%Y-%m-%d}:{admin.id}"
                outbox.enqueue_mail(
                    session, "ledger_fault", admin, dedup_key=key, username=admin.username, faults=faults
                )
    return report.is_sound

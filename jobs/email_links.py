"""Account jobs: send requested e-mail links, delete expired ones, carry debts over to new accounts."""

import logging

from sqlalchemy.exc import SQLAlchemyError

from jobs import context, mail
from models.services.accounts import email_links, former_accounts
from models.services.errors import DomainError

logger = logging.getLogger(__name__)


def send_links() -> int:
    """Send the requested e-mail links at once, since users wait for them; return the number of requests processed."""
    with context.sessions().begin() as session:
        looked_at = email_links.send_requested(session)
    if looked_at:
        mail.send_pending()
    return looked_at


def carry_debts() -> int:
    """Carry the debts of former accounts over to the users' present ones; return the number of users."""
    with context.sessions().begin() as session:
        waiting = former_accounts.due_to_carry(session)
    carried = 0
    for user_id in waiting:
        try:
            with context.sessions().begin() as session:
                carried += former_accounts.carry_debt(session, user_id)
        except (DomainError, SQLAlchemyError):
            logger.exception("user %s: the debt of the former account cannot be carried over", user_id)
    return carried


def delete_expired_links() -> int:
    """Delete expired e-mail links; return the number deleted."""
    with context.sessions().begin() as session:
        return email_links.delete_expired(session)

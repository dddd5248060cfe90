"""Jobs about accounts."""

import logging

from sqlalchemy.exc import SQLAlchemyError

from jobs import context, mail
from models.services.accounts import email_links, former_accounts
from models.services.errors import DomainError

logger = logging.getLogger(__name__)


def send_links() -> int:
    """Send the links that were asked for, at once: somebody sits and waits. Returns how many were looked at."""
    with context.sessions().begin() as session:
        looked_at = email_links.send_requested(session)
    if looked_at:
        mail.send_pending()
    return looked_at


def carry_debts() -> int:
    """Let users owe what their former accounts owe; returns how many do now."""
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
    """Remove mailed links whose time is over; returns how many."""
    with context.sessions().begin() as session:
        return email_links.delete_expired(session)

"""Jobs about accounts."""

from jobs import runtime
from models.services import links


def send_links() -> int:
    """Write the mails for links that were asked for; returns how many were looked at."""
    with runtime.sessions().begin() as session:
        return links.send_asked(session)


def forget_links() -> int:
    """Remove mailed links whose time is over; returns how many."""
    with runtime.sessions().begin() as session:
        return links.forget_expired(session)

"""Jobs about accounts."""

from jobs import mail, runtime
from models.services import links


def send_links() -> int:
    """Send the links that were asked for, at once: somebody sits and waits. Returns how many were looked at."""
    with runtime.sessions().begin() as session:
        looked_at = links.send_asked(session)
    if looked_at:
        mail.send_waiting()
    return looked_at


def forget_links() -> int:
    """Remove mailed links whose time is over; returns how many."""
    with runtime.sessions().begin() as session:
        return links.forget_expired(session)

"""The time zone in which a user reads times and counts days: the browser's at first, then what the user chooses."""

from sqlalchemy.orm import Session

from models import time_zones
from models.audit import AuditAction
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import InvalidInput
from models.users import User


def set_if_empty(session: Session, user: User, name: str) -> None:
    """Keep what a browser says for a user who has no time zone yet; what is no zone is ignored."""
    if user.time_zone is None and name in time_zones.names():
        user.time_zone = name
        session.flush()


def choose(session: Session, user: User, name: str, *, actor: Actor) -> None:
    """Set the user's time zone. Raises InvalidInput for one that is not known."""
    if name not in time_zones.names():
        raise InvalidInput("time_zone", "time_zone_unknown")
    if user.time_zone != name:
        user.time_zone = name
        session.flush()
        resource = ("user", user.id)
        audit_log.record(session, AuditAction.USER_CHANGED, actor, user_id=user.id, resource=resource, time_zone=name)

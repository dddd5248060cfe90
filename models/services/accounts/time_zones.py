"""A user's time zone, for displayed times and daily counts: from the browser at first, then chosen by the user."""

from sqlalchemy.orm import Session

from models import time_zones
from models.audit import AuditAction
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import InvalidInput
from models.users import User


def set_if_empty(session: Session, user: User, name: str) -> None:
    """Store the browser's time zone for a user who has none yet; unknown zones are ignored."""
    if user.time_zone is None and name in time_zones.names():
        user.time_zone = name
        session.flush()


def set_time_zone(session: Session, user: User, name: str, *, actor: Actor) -> None:
    """Set the user's time zone. Raises InvalidInput for an unknown one."""
    if name not in time_zones.names():
        raise InvalidInput("time_zone", "time_zone_unknown")
    if user.time_zone != name:
        user.time_zone = name
        session.flush()
        resource = ("user", user.id)
        audit_log.record(session, AuditAction.USER_CHANGED, actor, user_id=user.id, resource=resource, time_zone=name)

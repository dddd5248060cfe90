"""Who acts, and from where: handed to every service that changes something, for the audit log."""

import uuid
from dataclasses import dataclass

from models.audit import Origin


@dataclass(frozen=True, slots=True)
class Actor:
    """A user, or the platform itself (no user id), with the address and user agent it acted from."""

    user_id: uuid.UUID | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    # What names no other acts in a job.
    origin: Origin = Origin.JOB


PLATFORM = Actor()
OPERATOR = Actor(origin=Origin.COMMAND)

"""The actor of a change and the request's origin, passed to every service that writes to the audit log."""

import uuid
from dataclasses import dataclass

from models.audit import Origin


@dataclass(frozen=True, slots=True)
class Actor:
    """A user, or the platform itself (no user id), with IP address and user agent."""

    user_id: uuid.UUID | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    # The default: without another origin, a job acts.
    origin: Origin = Origin.JOB


PLATFORM = Actor()
OPERATOR = Actor(origin=Origin.COMMAND)

"""Request attributes that the gate decides on, and its admission result."""

import uuid
from typing import NamedTuple

from addon.admission.credentials import Credential
from addon.admission.rate_limits import Allowance
from models.services.gateway.token_lookup import TokenSnapshot


class RequestAttributes(NamedTuple):
    """What a request says of itself. `path` is the raw path without prefix and query; `address` the client's."""

    address: str
    method: str
    path: bytes
    credential: Credential | None
    device: str | None
    user_agent: str = ""


class Admit(NamedTuple):
    """The request may pass. `session_id` is None until `begin` has opened or joined the token's session.

    `notices` is how many notices of changes had come when the decision's facts were read.
    """

    snapshot: TokenSnapshot
    session_id: uuid.UUID | None
    invalidations: int
    allowance: Allowance

    @property
    def needs_device_check(self) -> bool:
        """Whether another device held the token when its facts were read."""
        return self.session_id is None and self.snapshot.is_activated and self.snapshot.device_id is not None

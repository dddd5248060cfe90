"""Admission of a request by its token: the gate's positive decision and the policy's data of the admitted exchange."""

import uuid
from dataclasses import dataclass

from addon.admission.rate_limits import Allowance
from addon.admission.request_attributes import RequestAttributes
from addon.http1.decisions import Admit
from addon.recording.session_usage import UsageCounters
from models.services.gateway.token_lookup import TokenSnapshot


@dataclass(slots=True, kw_only=True)
class TokenAdmission(Admit):
    """Forward the request; kept with its exchange until the exchange has ended."""

    snapshot: TokenSnapshot
    attributes: RequestAttributes
    allowance: Allowance
    # How many invalidations the memory tier had received when the snapshot was read.
    invalidations: int
    # None until `Gate.start_session` has opened or joined the token's session.
    session_id: uuid.UUID | None
    # Whether the exchange counts as in flight, and the counters of its session once there is one.
    is_open: bool = False
    usage: UsageCounters | None = None

    @property
    def needs_device_check(self) -> bool:
        """Whether another device held the token's device lock when the snapshot was read."""
        return self.session_id is None and self.snapshot.is_activated and self.snapshot.device_id is not None

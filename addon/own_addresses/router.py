"""Router of the gateway's own addresses: health, status, liveness, readiness, metrics and browser login."""

from dataclasses import dataclass

from addon.admission.credentials import Credential
from addon.admission.identification import TokenIdentifier
from addon.admission.refusals import refuse
from addon.admission.request_attributes import AttributeReader
from addon.browser_access.endpoint import BrowserAccessEndpoint, ConfirmationRequest, RedemptionRequest
from addon.http1.decisions import Decision, Defer, Peer, Refuse
from addon.http1.messages.heads import RequestHead
from addon.http1.policy_interface import Question
from addon.own_addresses.health import Health
from addon.own_addresses.json_answers import json_answer, token_status
from addon.recording.metrics import GatewayMetrics
from addon.token_cache.lookup import TokenLookup
from models import clock
from models.services.gateway import request_paths
from models.services.gateway.request_paths import PREFIX, RESERVED_SEGMENT
from models.services.gateway.token_lookup import TokenSnapshot

RESERVED = b"/" + RESERVED_SEGMENT
LOGIN = RESERVED + b"/enter"
READ_METHODS = {"GET", "HEAD"}
FORM_METHODS = {*READ_METHODS, "POST"}


@dataclass(frozen=True, slots=True)
class MetricsRequest:
    """Deferred: the metrics of all workers are read from Redis."""


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Deferred: the status of a token that is not in memory."""

    credential: Credential | None


class OwnAddresses:
    """Answers requests that are not forwarded, in this order: compatibility addresses, then `/_zenzefi`."""

    def __init__(
        self,
        reader: AttributeReader,
        identifier: TokenIdentifier,
        lookup: TokenLookup,
        *,
        health: Health,
        metrics: GatewayMetrics,
        browser_access: BrowserAccessEndpoint,
        has_compatibility_addresses: bool,
    ) -> None:
        self._reader = reader
        self._identifier = identifier
        self._lookup = lookup
        self._health = health
        self._metrics = metrics
        self._browser_access = browser_access
        self._has_compatibility_addresses = has_compatibility_addresses
        # Set when a drain begins: load balancers then send no new requests to this worker.
        self.is_draining = False

    def answer(self, request: RequestHead, peer: Peer) -> Decision | Defer | None:
        """Answer a request to an own address; None for every other request, which belongs to the upstream."""
        path = request.raw_path
        if path == b"/health" and self._has_compatibility_addresses and request.method in READ_METHODS:
            return self._health.response()
        if path == PREFIX + b"/status" and self._has_compatibility_addresses and request.method in READ_METHODS:
            return self._token_status(request)
        if path.startswith(RESERVED + b"/") or path == RESERVED:
            return self._reserved(path, request, peer)
        if request_paths.is_under(request.path, RESERVED_SEGMENT):
            return refuse("not_found")
        return None

    async def answer_slow(self, question: Question) -> Decision:
        """Answer a request that `answer` has deferred. Raises TypeError for any other."""
        match question.policy_data:
            case StatusRequest(credential):
                found, _ = await self._identifier.identify(credential)
                return _status_answer(found)
            case MetricsRequest():
                return await self._metrics.response()
            case ConfirmationRequest() as confirmation:
                return await self._browser_access.confirm(question, confirmation)
            case RedemptionRequest():
                return await self._browser_access.redeem(question)
        raise TypeError(f"no own address has deferred {question.policy_data!r}")

    def _reserved(  # noqa: PLR0911 - a table of paths
        self, path: bytes, request: RequestHead, peer: Peer
    ) -> Decision | Defer:
        if path == LOGIN and request.method in FORM_METHODS:
            return self._browser_access.admit(request, peer)
        name = path.removeprefix(RESERVED) if request.method in READ_METHODS else b""
        match name:
            case b"/health":
                return self._health.response()
            case b"/status":
                return self._token_status(request)
            case b"/metrics" if self._metrics.may_read(peer, request):
                return Defer(policy_data=MetricsRequest())
            case b"/live":
                return json_answer({"status": "live"})
            case b"/ready":
                is_ready = not self.is_draining and self._lookup.is_leased
                return json_answer({"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503)
        return refuse("not_found")

    def _token_status(self, request: RequestHead) -> Decision | Defer:
        credential = self._reader.credential(request)
        found = self._identifier.identify_from_memory(credential)
        return Defer(policy_data=StatusRequest(credential)) if found is None else _status_answer(found)


def _status_answer(found: TokenSnapshot | Refuse) -> Decision:
    """Return a token's status; a paused token has one too (docs/spec/http.md#token-status)."""
    if isinstance(found, Refuse) and found.code == "token_paused" and isinstance(found.snapshot, TokenSnapshot):
        found = found.snapshot
    return found if isinstance(found, Refuse) else token_status(found, clock.now())

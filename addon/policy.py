"""The gateway's policy: answers own addresses, asks the gate for a decision, and counts admitted exchanges.

The layer asks `admit` on its hot path; what memory cannot answer is deferred to `admit_slow`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from addon.admission import request_attributes
from addon.admission.credentials import Credential, cookie_value, find_credential, mask_secret_shapes
from addon.admission.gate import Gate
from addon.admission.rate_limits import Allowance
from addon.admission.refusals import refuse
from addon.admission.request_attributes import RequestAttributes
from addon.browser_access.endpoint import BrowserAccessEndpoint, ConfirmationRequest, RedemptionRequest
from addon.http1.decisions import Admit, Decision, Defer, Local, Peer, Refuse
from addon.http1.exchange import Exchange
from addon.http1.messages.head_parser import RequestHead
from addon.http1.policy_interface import Question
from addon.http1.upstream import Upstream
from addon.own_addresses.health import Health
from addon.own_addresses.json_answers import Answer, as_json, token_status
from addon.recording.exchange_recorder import ExchangeRecorder
from addon.recording.session_usage import SessionUsage, UsageCounters
from models import clock
from models.services.gateway import request_paths
from models.services.gateway.request_paths import PREFIX, RESERVED_SEGMENT
from models.services.gateway.token_lookup import TokenSnapshot

RESERVED = b"/" + RESERVED_SEGMENT
ENTER = RESERVED + b"/enter"
READS = {"GET", "HEAD"}
FORMS = {*READS, "POST"}


@dataclass(slots=True)
class RequestContext:
    """What the policy remembers of an admitted exchange; `total` is None until it has a session."""

    attributes: RequestAttributes
    admitted: request_attributes.Admit
    is_open: bool = False
    total: UsageCounters | None = None


class ParsedCredentials(NamedTuple):
    """What a client's header lines say of who it is; read once for lines that come again and again."""

    credential: Credential | None
    device: str | None
    user_agent: str


@dataclass(frozen=True, slots=True)
class MetricsRequest:
    """Somebody who may asks for the metrics."""


@dataclass(frozen=True, slots=True)
class DeviceConflictCheck:
    """Everything said yes, but another device may hold the token."""

    attributes: RequestAttributes
    admitted: request_attributes.Admit


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Somebody asks about a token that memory does not know."""

    credential: Credential | None


class GatePolicy:
    """The policy of a worker."""

    def __init__(
        self,
        gate: Gate,
        usage: SessionUsage,
        health: Health,
        upstream: Upstream,
        *,
        browser_access: BrowserAccessEndpoint,
        recorder: ExchangeRecorder,
        track: Callable[[request_attributes.Admit], None],
        compatibility: bool,
    ) -> None:
        self._gate = gate
        self._track = track
        self._usage = usage
        self._health = health
        self._upstream = upstream
        self._browser_access = browser_access
        self._recorder = recorder
        self._cookie = browser_access.cookie.encode()
        self._compatibility = compatibility
        # False from the moment a drain begins: an orchestrator then sends nobody here any more.
        self.is_ready = True

    def admit(
        self,
        request: RequestHead,
        peer: Peer,
        exchange: Exchange,
    ) -> Decision | Defer:
        """Decide from memory; everything this worker answers itself comes before admission."""
        own = self._own_address(request, peer)
        if own is not None:
            return own
        attributes = self._attributes(request, peer)
        decision = self._gate.decide_from_memory(attributes)
        if decision is None:
            return Defer(policy_data=attributes)
        if isinstance(decision, request_attributes.Admit) and decision.needs_device_check:
            return Defer(policy_data=DeviceConflictCheck(attributes, decision))
        return self._as_decision(attributes, decision, exchange)

    async def admit_slow(self, question: Question) -> Decision:
        """Decide with the help of the database."""
        match question.policy_data:
            case RequestAttributes() as attributes:
                decision = await self._gate.decide(attributes)
                if isinstance(decision, request_attributes.Admit) and decision.needs_device_check:
                    decision = await self._gate.check_device_conflict(decision, attributes)
                return self._as_decision(attributes, decision, question.exchange)
            case DeviceConflictCheck(attributes, admitted):
                return self._as_decision(
                    attributes, await self._gate.check_device_conflict(admitted, attributes), question.exchange
                )
            case StatusRequest(credential):
                return _status(await self._gate.identify(credential))
            case MetricsRequest():
                return await self._recorder.metrics.response()
            case ConfirmationRequest() as confirmation:
                return await self._browser_access.show(question, confirmation)
            case RedemptionRequest():
                return await self._browser_access.enter(question)
        raise TypeError(f"nobody deferred {question.policy_data!r}")

    async def activate(self, exchange: Exchange) -> Refuse | None:
        """Start the paid clock and open the session, now that the upstream connection stands."""
        context = _context(exchange)
        begun = await self._gate.start_session(context.admitted, context.attributes, exchange.request_id)
        if isinstance(begun, Refuse):
            return begun
        context.admitted = begun
        self._count(context)
        return None

    def on_open(self, exchange: Exchange) -> None:
        """Count the request, and hold its session in use while it lasts."""
        context = _context(exchange)
        context.is_open = True
        context.admitted.allowance.window.request_started()
        self._count(context)

    def on_bytes(self, exchange: Exchange, received: int, sent: int) -> None:
        """Count body bytes: `received` from the client, `sent` to it."""
        self._recorder.counters.count_bytes(received, sent)
        total = _context(exchange).total
        if total is not None:
            total.count_bytes(received, sent)

    def on_close(self, exchange: Exchange) -> None:
        """Let go of the session, and record what came of the exchange."""
        self._recorder.record(exchange)
        if exchange.admission is None:
            return
        context = _context(exchange)
        if context.is_open:
            context.admitted.allowance.window.request_finished()
        if context.total is not None:
            context.total.end_exchange()

    def _count(self, context: RequestContext) -> None:
        """Count a request once, as soon as it has a session: before its first use it has none."""
        session_id = context.admitted.session_id
        if session_id is not None and context.total is None:
            context.total = self._usage.start_exchange(session_id)
            self._track(context.admitted)

    def _own_address(self, request: RequestHead, peer: Peer) -> Decision | Defer | None:
        """Answer what is ours; None for everything that belongs to the upstream."""
        path = request.raw_path
        if path == b"/health" and self._compatibility and request.method in READS:
            return _local(self._health.response())
        if path == PREFIX + b"/status" and self._compatibility and request.method in READS:
            return self._token_status(request)
        if path.startswith(RESERVED + b"/") or path == RESERVED:
            return self._reserved(path, request, peer)
        if request_paths.is_under(request.path, RESERVED_SEGMENT):
            return refuse("not_found")
        return None

    def _reserved(  # noqa: PLR0911 - a table of paths
        self, path: bytes, request: RequestHead, peer: Peer
    ) -> Decision | Defer:
        if path == ENTER and request.method in FORMS:
            return self._browser_access.admit(request, peer)
        name = path.removeprefix(RESERVED) if request.method in READS else b""
        match name:
            case b"/health":
                return _local(self._health.response())
            case b"/status":
                return self._token_status(request)
            case b"/metrics" if self._recorder.metrics.may_read(peer, request):
                return Defer(policy_data=MetricsRequest())
            case b"/live":
                return _local(as_json({"status": "live"}))
            case b"/ready":
                ready = self.is_ready and self._gate.can_decide
                return _local(as_json({"status": "ready" if ready else "not ready"}, 200 if ready else 503))
        return refuse("not_found")

    def _token_status(self, request: RequestHead) -> Decision | Defer:
        credential = self._credential(request)
        found = self._gate.identify_from_memory(credential)
        return Defer(policy_data=StatusRequest(credential)) if found is None else _status(found)

    def _credential(self, request: RequestHead) -> Credential | None:
        headers = request.headers
        access_token, authorization = headers.get(b"x-access-token"), headers.get(b"authorization")
        return find_credential(
            None if access_token is None else access_token.decode("latin-1"),
            None if authorization is None else authorization.decode("latin-1"),
            cookie_value(headers.all(b"cookie"), self._cookie) if b"cookie" in headers.first else None,
        )

    def _attributes(self, request: RequestHead, peer: Peer) -> RequestAttributes:
        credentials = request.headers.credentials
        if not isinstance(credentials, ParsedCredentials):
            request.headers.credentials = credentials = self._parsed_credentials(request)
        return RequestAttributes(
            peer.address, request.method, request.path, credentials.credential, credentials.device, credentials.user_agent
        )

    def _parsed_credentials(self, request: RequestHead) -> ParsedCredentials:
        device = request.headers.get(b"x-device-id")
        agent = request.headers.get(b"user-agent")
        return ParsedCredentials(
            self._credential(request),
            None if device is None else self._gate.device_name(device.decode("latin-1")),
            "" if agent is None else mask_secret_shapes(agent.decode("utf-8", "replace")),
        )

    def _as_decision(
        self, attributes: RequestAttributes, decision: request_attributes.Admit | Refuse, exchange: Exchange
    ) -> Decision:
        exchange.snapshot = decision.snapshot
        if isinstance(decision, Refuse):
            return decision
        return Admit(
            self._upstream,
            token_id=_text(decision.snapshot.token_id),
            user_id=_text(decision.snapshot.user_id),
            needs_activation=decision.session_id is None,
            reply_lines=_limit_lines(decision.allowance),
            policy_data=RequestContext(attributes, decision),
        )


_text = lru_cache(maxsize=4096)(str)


def _limit_lines(allowance: Allowance) -> bytes:
    return b"RateLimit-Limit: %d\r\nRateLimit-Remaining: %d\r\nRateLimit-Reset: %d\r\n" % (
        allowance.limit,
        allowance.remaining,
        allowance.reset,
    )


def _context(exchange: Exchange) -> RequestContext:
    if exchange.admission is None or not isinstance(exchange.admission.policy_data, RequestContext):
        raise TypeError("the exchange was not admitted by this policy")
    return exchange.admission.policy_data


def _status(found: TokenSnapshot | Refuse) -> Decision:
    """Return a token's status; a paused token has one too (docs/spec/http.md#token-status)."""
    if isinstance(found, Refuse) and found.code == "token_paused" and isinstance(found.snapshot, TokenSnapshot):
        found = found.snapshot
    return found if isinstance(found, Refuse) else _local(token_status(found, clock.now()))


def _local(answer: Answer) -> Local:
    return Local(answer.status, answer.body, headers=answer.headers)

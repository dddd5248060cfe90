"""The gateway's policy: answers own addresses, asks the gate for a decision, and counts admitted exchanges.

The layer asks `admit` on its hot path; what memory cannot answer is deferred to `admit_slow`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from addon.admission import request_facts
from addon.admission.credentials import Credential, cookie_value, find_credential, mask_secret_shapes
from addon.admission.gate import Gate
from addon.admission.health import Health
from addon.admission.local_answers import Answer, as_json, token_status
from addon.admission.rate_limits import Allowance
from addon.admission.refusals import refuse
from addon.admission.request_facts import RequestAttributes
from addon.browser_access.endpoint import BrowserAccessEndpoint, Look, Press
from addon.http1.decisions import Admit, Decision, Defer, Local, Peer, Refuse
from addon.http1.exchange import Exchange
from addon.http1.messages.head_parser import RequestHead
from addon.http1.policy_interface import Question
from addon.http1.upstream import Upstream
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

    facts: RequestAttributes
    admitted: request_facts.Admit
    is_open: bool = False
    total: UsageCounters | None = None


class ParsedCredentials(NamedTuple):
    """What a client's header lines say of who it is; read once for lines that come again and again."""

    credential: Credential | None
    device: str | None
    user_agent: str


@dataclass(frozen=True, slots=True)
class MetricsQuestion:
    """Somebody who may asks for the metrics."""


@dataclass(frozen=True, slots=True)
class DeviceConflictCheck:
    """Everything said yes, but another device may hold the token."""

    facts: RequestAttributes
    admitted: request_facts.Admit


@dataclass(frozen=True, slots=True)
class StatusQuestion:
    """Somebody asks about a token that memory does not know."""

    credential: Credential | None


class GatePolicy:
    """The policy of a worker."""

    def __init__(
        self,
        gate: Gate,
        tally: SessionUsage,
        health: Health,
        upstream: Upstream,
        *,
        entrance: BrowserAccessEndpoint,
        records: ExchangeRecorder,
        track: Callable[[request_facts.Admit], None],
        compatibility: bool,
    ) -> None:
        self._gate = gate
        self._in_use = track
        self._tally = tally
        self._health = health
        self._upstream = upstream
        self._entrance = entrance
        self._records = records
        self._cookie = entrance.cookie.encode()
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
        facts = self._facts(request, peer)
        decision = self._gate.decide_from_memory(facts)
        if decision is None:
            return Defer(policy_data=facts)
        if isinstance(decision, request_facts.Admit) and decision.needs_device_check:
            return Defer(policy_data=DeviceConflictCheck(facts, decision))
        return self._as_decision(facts, decision, exchange)

    async def admit_slow(self, question: Question) -> Decision:
        """Decide with the help of the database."""
        match question.policy_data:
            case RequestAttributes() as facts:
                decision = await self._gate.decide(facts)
                if isinstance(decision, request_facts.Admit) and decision.needs_device_check:
                    decision = await self._gate.check_device_conflict(decision, facts)
                return self._as_decision(facts, decision, question.exchange)
            case DeviceConflictCheck(facts, admitted):
                return self._as_decision(
                    facts, await self._gate.check_device_conflict(admitted, facts), question.exchange
                )
            case StatusQuestion(credential):
                return _status(await self._gate.identify(credential))
            case MetricsQuestion():
                return await self._records.metrics.response()
            case Look() as look:
                return await self._entrance.show(question, look)
            case Press():
                return await self._entrance.enter(question)
        raise TypeError(f"nobody deferred {question.policy_data!r}")

    async def activate(self, exchange: Exchange) -> Refuse | None:
        """Start the paid clock and open the session, now that the upstream connection stands."""
        visit = _visit(exchange)
        begun = await self._gate.start_session(visit.admitted, visit.facts, exchange.request_id)
        if isinstance(begun, Refuse):
            return begun
        visit.admitted = begun
        self._count(visit)
        return None

    def on_open(self, exchange: Exchange) -> None:
        """Count the request, and hold its session in use while it lasts."""
        visit = _visit(exchange)
        visit.is_open = True
        visit.admitted.allowance.window.request_started()
        self._count(visit)

    def on_bytes(self, exchange: Exchange, received: int, sent: int) -> None:
        """Count body bytes: `received` from the client, `sent` to it."""
        self._records.counters.count_bytes(received, sent)
        total = _visit(exchange).total
        if total is not None:
            total.count_bytes(received, sent)

    def on_close(self, exchange: Exchange) -> None:
        """Let go of the session, and record what came of the exchange."""
        self._records.record(exchange)
        if exchange.admission is None:
            return
        visit = _visit(exchange)
        if visit.is_open:
            visit.admitted.allowance.window.request_finished()
        if visit.total is not None:
            visit.total.end_exchange()

    def _count(self, visit: RequestContext) -> None:
        """Count a request once, as soon as it has a session: before its first use it has none."""
        session_id = visit.admitted.session_id
        if session_id is not None and visit.total is None:
            visit.total = self._tally.start_exchange(session_id)
            self._in_use(visit.admitted)

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
            return self._entrance.admit(request, peer)
        name = path.removeprefix(RESERVED) if request.method in READS else b""
        match name:
            case b"/health":
                return _local(self._health.response())
            case b"/status":
                return self._token_status(request)
            case b"/metrics" if self._records.metrics.may_read(peer, request):
                return Defer(policy_data=MetricsQuestion())
            case b"/live":
                return _local(as_json({"status": "live"}))
            case b"/ready":
                ready = self.is_ready and self._gate.can_decide
                return _local(as_json({"status": "ready" if ready else "not ready"}, 200 if ready else 503))
        return refuse("not_found")

    def _token_status(self, request: RequestHead) -> Decision | Defer:
        credential = self._credential(request)
        found = self._gate.identify_from_memory(credential)
        return Defer(policy_data=StatusQuestion(credential)) if found is None else _status(found)

    def _credential(self, request: RequestHead) -> Credential | None:
        headers = request.headers
        access_token, authorization = headers.get(b"x-access-token"), headers.get(b"authorization")
        return find_credential(
            None if access_token is None else access_token.decode("latin-1"),
            None if authorization is None else authorization.decode("latin-1"),
            cookie_value(headers.all(b"cookie"), self._cookie) if b"cookie" in headers.first else None,
        )

    def _facts(self, request: RequestHead, peer: Peer) -> RequestAttributes:
        claim = request.headers.credentials
        if not isinstance(claim, ParsedCredentials):
            request.headers.credentials = claim = self._claim(request)
        return RequestAttributes(
            peer.address, request.method, request.path, claim.credential, claim.device, claim.user_agent
        )

    def _claim(self, request: RequestHead) -> ParsedCredentials:
        device = request.headers.get(b"x-device-id")
        agent = request.headers.get(b"user-agent")
        return ParsedCredentials(
            self._credential(request),
            None if device is None else self._gate.device_name(device.decode("latin-1")),
            "" if agent is None else mask_secret_shapes(agent.decode("utf-8", "replace")),
        )

    def _as_decision(
        self, facts: RequestAttributes, decision: request_facts.Admit | Refuse, exchange: Exchange
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
            policy_data=RequestContext(facts, decision),
        )


_text = lru_cache(maxsize=4096)(str)


def _limit_lines(allowance: Allowance) -> bytes:
    return b"RateLimit-Limit: %d\r\nRateLimit-Remaining: %d\r\nRateLimit-Reset: %d\r\n" % (
        allowance.limit,
        allowance.remaining,
        allowance.reset,
    )


def _visit(exchange: Exchange) -> RequestContext:
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

"""The gateway's policy: admits requests by their token and counts the admitted exchanges.

The HTTP layer calls `admit` for each request; a decision that needs Redis or PostgreSQL is deferred to `admit_slow`.
"""

from collections.abc import Callable

from addon.admission.gate import Gate
from addon.admission.request_attributes import AttributeReader, RequestAttributes
from addon.admission.token_admission import TokenAdmission
from addon.http1.decisions import Decision, Defer, Peer, Refuse
from addon.http1.exchange import Exchange
from addon.http1.messages.heads import RequestHead
from addon.http1.policy_interface import Question
from addon.own_addresses.router import OwnAddresses
from addon.recording.exchange_recorder import ExchangeRecorder
from addon.recording.session_usage import SessionUsage


class GatePolicy:
    """The policy of a worker; `track` is called for each exchange that uses a session."""

    def __init__(
        self,
        own_addresses: OwnAddresses,
        reader: AttributeReader,
        gate: Gate,
        *,
        usage: SessionUsage,
        recorder: ExchangeRecorder,
        track: Callable[[TokenAdmission], None],
    ) -> None:
        self._own_addresses = own_addresses
        self._reader = reader
        self._gate = gate
        self._usage = usage
        self._recorder = recorder
        self._track = track

    def admit(self, request: RequestHead, peer: Peer, exchange: Exchange) -> Decision | Defer:
        """Decide from memory; own addresses are answered without admission."""
        own = self._own_addresses.answer(request, peer)
        if own is not None:
            return own
        attributes = self._reader.read(request, peer)
        decision = self._gate.decide_from_memory(attributes)
        if decision is None:
            return Defer(policy_data=attributes)
        if isinstance(decision, TokenAdmission) and decision.needs_device_check:
            return Defer(policy_data=decision)
        exchange.snapshot = decision.snapshot
        return decision

    async def admit_slow(self, question: Question) -> Decision:
        """Decide with Redis and PostgreSQL."""
        decision: TokenAdmission | Refuse
        match question.policy_data:
            case RequestAttributes() as attributes:
                decision = await self._gate.decide(attributes)
            case TokenAdmission() as admission:
                decision = admission
            case _:
                return await self._own_addresses.answer_slow(question)
        if isinstance(decision, TokenAdmission) and decision.needs_device_check:
            decision = await self._gate.check_device_conflict(decision)
        question.exchange.snapshot = decision.snapshot
        return decision

    async def activate(self, exchange: Exchange) -> Refuse | None:
        """Activate the token and open its session, now that the upstream is connected."""
        admission = _admission(exchange)
        refusal = await self._gate.start_session(admission, exchange.request_id)
        if refusal is None:
            self._count(admission)
        return refusal

    def on_open(self, exchange: Exchange) -> None:
        """Count the request as in flight, and for its session."""
        admission = _admission(exchange)
        admission.is_open = True
        admission.allowance.window.request_started()
        self._count(admission)

    def on_bytes(self, exchange: Exchange, received: int, sent: int) -> None:
        """Count body bytes: `received` from the client, `sent` to it."""
        self._recorder.counters.count_bytes(received, sent)
        usage = _admission(exchange).usage
        if usage is not None:
            usage.count_bytes(received, sent)

    def on_close(self, exchange: Exchange) -> None:
        """Record the exchange, and count it as in flight no longer."""
        self._recorder.record(exchange)
        if exchange.admission is None:
            return
        admission = _admission(exchange)
        if admission.is_open:
            admission.allowance.window.request_finished()
        if admission.usage is not None:
            admission.usage.end_exchange()

    def _count(self, admission: TokenAdmission) -> None:
        """Count the request once for its session; before the token's activation there is none."""
        if admission.session_id is not None and admission.usage is None:
            admission.usage = self._usage.start_exchange(admission.session_id)
            self._track(admission)


def _admission(exchange: Exchange) -> TokenAdmission:
    if not isinstance(exchange.admission, TokenAdmission):
        raise TypeError("the exchange was not admitted by this policy")
    return exchange.admission

"""Asks the policy about a request: at once, deferred with its body, and once more for the token's activation."""

from mitmproxy.proxy import commands
from mitmproxy.proxy.layer import Layer

from addon.http1.connection.exchange_state import ExchangeError, ExchangeState, Phase
from addon.http1.connection.lifecycle import INTERNAL, Lifecycle
from addon.http1.connection.parts import ConnectionParts
from addon.http1.connection.relay import Relay
from addon.http1.decisions import Admit, Decision, Defer, Local, Refuse
from addon.http1.events import ActivateHook, AdmitSlowHook
from addon.http1.messages.body_framing import BodyReader
from addon.http1.messages.forwarding import mask_target
from addon.http1.policy_interface import Activation, Question
from models.services.gateway.request_paths import is_under
from models.services.gateway.scopes import ORDINARY_METHODS

_RESERVED = Refuse(404, "not_found", "There is nothing here.")
_SECRET_IN_ADDRESS = Refuse(400, "bad_request", "The address holds an access token; send it in a header.")
# RFC 9110, 7.6.2: the last proxy answers OPTIONS in the upstream's place.
_LAST_HOP = Local(204, headers=(("Allow", ", ".join(ORDINARY_METHODS)),))


class Admission:
    """Admits, refuses or answers the requests of one client connection; each method returns whether one may proceed."""

    def __init__(
        self,
        layer: Layer,
        parts: ConnectionParts,
        lifecycle: Lifecycle,
        relay: Relay,
        out: list[commands.Command],
    ) -> None:
        self._layer = layer
        self._worker = parts.worker
        self._client = parts.client
        self._deadlines = parts.deadlines
        self._lifecycle = lifecycle
        self._relay = relay
        self._out = out

    def admit(self, state: ExchangeState) -> bool:
        """Decide about a request that was checked."""
        cors, request = self._worker.rules.cors, state.request
        preflight = None if cors is None else cors.preflight(request)
        return self._decide(state, preflight or self._worker.policy.admit(request, state.peer, state.exchange))

    def activate(self, state: ExchangeState) -> None:
        """Ask the policy to activate the token: the upstream is connected, and nothing was sent to it."""
        state.activation = Activation(state.exchange)
        self._deadlines.set(self._worker.limits.admit_seconds)
        self._ask(state, ActivateHook(state.activation))

    def collect(self, state: ExchangeState, body: BodyReader) -> None:
        """Take what was received of a body that the policy reads. Raises ExchangeError."""
        question, received = state.question, self._client.received
        question.body += body.receive(received.take_all())
        if len(question.body) > state.collect_limit:
            raise ExchangeError(Refuse(413, "body_too_large", "The body is too large."), close=True)
        if body.fault:
            raise ExchangeError(Refuse(400, "bad_request", body.fault), close=True)
        if body.done:
            received.buffer, body.rest = body.rest, b""
            state.collect_limit = 0
            self._ask(state, AdmitSlowHook(question))

    def hook_completed(self, state: ExchangeState, hook: commands.StartHook) -> bool:
        """Take the policy's answer; a hook that is no longer awaited is ignored."""
        if state.pending_hook is not hook or state.phase is not Phase.WAITING:
            return False
        state.pending_hook = None
        if isinstance(hook, AdmitSlowHook):
            return self._decide(state, hook.data.decision or INTERNAL)
        if state.activation.refusal is not None or not state.activation.allowed:
            self._lifecycle.refuse(state, state.activation.refusal or INTERNAL)
            return False
        state.is_activated = True
        return True

    def _decide(self, state: ExchangeState, decision: Decision | Defer) -> bool:
        if isinstance(decision, Admit):
            return self._admit(state, decision)
        if isinstance(decision, Refuse):
            self._lifecycle.refuse(state, decision)
        elif isinstance(decision, Local):
            self._lifecycle.answer(state, decision)
        else:
            self._defer(state, decision)
        return False

    def _admit(self, state: ExchangeState, admit: Admit) -> bool:
        """Check what even an admitted request may not do, and report the exchange as open."""
        request, worker = state.request, self._worker
        if is_under(request.path, worker.rules.reserved):
            self._lifecycle.refuse(state, _RESERVED)
            return False
        if not mask_target(request, worker.rules):
            self._lifecycle.refuse(state, _SECRET_IN_ADDRESS)
            return False
        if request.method == "OPTIONS" and request.hops_left == 0:
            self._lifecycle.answer(state, _LAST_HOP)
            return False
        if not request.headers.is_cached:
            worker.header_cache.add(request.headers)
        state.exchange.admission = state.admit = admit
        self._lifecycle.record(state)
        self._lifecycle.bind(admit.token_id)
        worker.policy.on_open(state.exchange)
        return True

    def _defer(self, state: ExchangeState, defer: Defer) -> None:
        """Ask for a decision that needs I/O; collect a small request body first if the policy wants it."""
        state.question = Question(state.exchange, state.request, state.peer, policy_data=defer.policy_data)
        self._deadlines.set(self._worker.limits.admit_seconds)
        if defer.body_bytes and state.body is not None:
            state.collect_limit = defer.body_bytes
            if state.expects_continue:
                self._relay.send_continue(state)
            self.collect(state, state.body)
        else:
            self._ask(state, AdmitSlowHook(state.question))

    def _ask(self, state: ExchangeState, hook: AdmitSlowHook | ActivateHook) -> None:
        # mitmproxy declares it as `bool | Layer` on the base class, and as a plain bool on its subclasses. With it, no
        # layer above waits for the answer.
        command: commands.Command = hook
        command.blocking = self._layer
        state.pending_hook = hook
        self._out.append(hook)

"""How a request gets in: its head is read, the policy decides, the upstream connection is made."""

import math

from mitmproxy.proxy import commands, events

from addon.http1.connection.events import AdmitSlowHook, FirstUseHook
from addon.http1.connection.exchange_state import ExchangeState
from addon.http1.connection.lifecycle import INTERNAL, Phase
from addon.http1.connection.upstream_connection import State, not_blocking
from addon.http1.connection.websocket import Tunnelling
from addon.http1.decisions import Admit, Decision, Defer, Local, Refuse
from addon.http1.exchange import Exchange
from addon.http1.messages.body_framing import BodyReader, ChunkedReader
from addon.http1.messages.forwarding import forwarded_peer, mask_target, strip_prefix
from addon.http1.messages.head_parser import HeadError, RequestHead, parse_request
from addon.http1.policy_interface import FirstUse, Question
from models.services.gateway.request_paths import fault, is_under
from models.services.gateway.scopes import ORDINARY_METHODS

_UNREACHABLE = Refuse(502, "upstream_unreachable", "The upstream cannot be reached.")
_BUSY = Refuse(503, "unavailable", "The service is busy; try again in a moment.", (("Retry-After", "1"),))
_OVERLOADED = Refuse(503, "overloaded", "There are too many connections.", (("Retry-After", "5"),))
_RESERVED = Refuse(404, "not_found", "There is nothing here.")
_SECRET_IN_ADDRESS = Refuse(400, "bad_request", "The address holds an access token; send it in a header.")
# To answer in the upstream's place is what OPTIONS asks of the last proxy (RFC 9110, section 7.6.2).
_LAST_HOP = Local(204, headers=(("Allow", ", ".join(ORDINARY_METHODS)),))
_READS = ("GET", "HEAD")
TOO_SLOW = Refuse(408, "request_timeout", "The request did not come in time.")


class Admitting(Tunnelling):
    """Brings one request from its first byte to the upstream connection."""

    # Set by the addon when this connection is one too many.
    overloaded = False

    def _pump(self) -> None:
        """Read as many requests as can be read now."""
        while self._phase is Phase.IDLE and self._intake.buffer:
            if not self._read_head():
                break
        if self._half_closed and self._phase in (Phase.IDLE, Phase.SENDING):
            self._abandon("client_closed")

    def _read_head(self) -> bool:
        """Begin an exchange if a whole head is here."""
        turn = None
        try:
            raw = self._intake.take_head()
            if raw is None:
                if self._total == math.inf and self._intake.buffer:
                    # The head as a whole has this long, however often a piece of it comes.
                    self._total = self._now + self._limits.head_seconds
                    self._due(self._limits.head_seconds)
                return False
            turn = self._begin_turn()
            self._begin(turn, parse_request(raw, self._limits, self._worker.header_cache.get))
        except HeadError as error:
            refuse = Refuse(error.status, error.code, str(error))
            self._refuse(turn or self._begin_turn(), refuse, close=True)
        return True

    def _begin_turn(self) -> ExchangeState:
        limits = self._limits
        self._count += 1
        exchange = Exchange(f"{self._name}-{self._count:x}", self._now)
        exchange.client_address = self._address
        self._phase = Phase.HELD
        self._total = self._now + limits.total_seconds if limits.total_seconds else math.inf
        self._turn = turn = ExchangeState(exchange)
        return turn

    def _begin(self, turn: ExchangeState, request: RequestHead) -> None:
        """Check what can be checked without the policy, then ask it. Raises HeadError."""
        exchange, rules = turn.exchange, self._worker.rules
        exchange.request = turn.request = request
        if rules.cors is not None:
            turn.cors = rules.cors.lines(request)
        if self.overloaded:
            self._refuse(turn, _OVERLOADED, close=True)
            return
        if request.raw_path == b"//health" and rules.compatibility_prefix and request.method in _READS:
            # The desktop client's base address may end in a slash.
            request.path = request.raw_path = b"/health"
        if request.target_authority is not None and request.target_authority not in rules.own_authorities:
            raise HeadError("The address names another server.")
        wrong = fault(request.raw_path)
        if wrong is not None:
            raise HeadError(wrong)
        path = strip_prefix(request.raw_path, rules.compatibility_prefix)
        if path is not None:
            request.compat, request.path = True, path
        turn.peer = forwarded_peer(self._peer, request.headers, rules) if self._is_behind_proxy else self._peer
        exchange.client_address = turn.peer.address
        self._take_framing(turn, request)
        preflight = None if rules.cors is None else rules.cors.preflight(request)
        self._decide(turn, preflight or self._policy.admit(request, turn.peer, exchange))

    def _take_framing(self, turn: ExchangeState, request: RequestHead) -> None:
        """Prepare to read the body. Raises HeadError."""
        length, limit = request.length, self._limits.body_bytes
        if length is None:
            turn.body = ChunkedReader(self._limits.trailer_bytes)
        elif length:
            turn.body = BodyReader(length)
            if limit and length > limit:
                raise HeadError("The body is larger than this proxy allows.", 413, "body_too_large")
        expect = request.headers.get(b"expect")
        if expect is not None:
            if expect.lower() != b"100-continue":
                raise HeadError("The expectation is not known.", 417, "expectation_failed")
            turn.expecting = turn.body is not None and not request.http10
        turn.is_websocket = request.wants_websocket

    def _decide(self, turn: ExchangeState, decision: Decision | Defer) -> None:
        if isinstance(decision, Admit):
            self._admitted(turn, decision)
        elif isinstance(decision, Refuse):
            self._refuse(turn, decision)
        elif isinstance(decision, Local):
            self._answer(turn, decision)
        else:
            self._defer(turn, decision)

    def _defer(self, turn: ExchangeState, defer: Defer) -> None:
        """Ask for a decision that needs I/O; collect a small body first if it is wanted."""
        turn.question = Question(turn.exchange, turn.request, turn.peer, facts=defer.facts)
        self._due(self._limits.admit_seconds)
        if defer.body_bytes and turn.body is not None:
            turn.collecting = defer.body_bytes
            if turn.expecting:
                self._continue(turn)
            self._collect(turn, turn.body)
        else:
            self._ask(turn, AdmitSlowHook(turn.question))

    def _collect(self, turn: ExchangeState, body: BodyReader) -> None:
        """Take what is here of a body that the policy wants to read."""
        question = turn.question
        question.body += body.receive(self._intake.take_all())
        if len(question.body) > turn.collecting:
            self._refuse(turn, Refuse(413, "body_too_large", "The body is too large."), close=True)
        elif body.fault:
            self._refuse(turn, Refuse(400, "bad_request", body.fault), close=True)
        elif body.done:
            self._intake.buffer, body.rest = body.rest, b""
            turn.collecting = 0
            self._ask(turn, AdmitSlowHook(question))

    def _ask(self, turn: ExchangeState, hook: AdmitSlowHook | FirstUseHook) -> None:
        turn.asked = not_blocking(hook, self)
        self._out.append(hook)

    def _hook_ran(self, command: commands.StartHook) -> None:
        """A hook has run; it counts only if it is the one whose answer is awaited."""
        turn = self._turn
        if turn is None or turn.asked is not command or self._phase is not Phase.HELD:
            return
        turn.asked = None
        if isinstance(command, AdmitSlowHook):
            self._decide(turn, command.data.decision or INTERNAL)
        elif turn.first_use.refusal is not None or not turn.first_use.allowed:
            self._refuse(turn, turn.first_use.refusal or INTERNAL)
        else:
            turn.is_first_use_done = True
            self._find_upstream(turn)

    def _admitted(self, turn: ExchangeState, admit: Admit) -> None:
        if is_under(turn.request.path, self._worker.rules.reserved):
            self._refuse(turn, _RESERVED)
            return
        if not mask_target(turn.request, self._worker.rules):
            self._refuse(turn, _SECRET_IN_ADDRESS)
            return
        if turn.request.method == "OPTIONS" and turn.request.hops_left == 0:
            self._answer(turn, _LAST_HOP)
            return
        if not turn.request.headers.is_cached:
            self._worker.header_cache.add(turn.request.headers)
        turn.exchange.admission = turn.admit = admit
        if self._worker.observers:
            self._record(turn)
        self._worker.registry.bind(self, admit.token_id)
        self._policy.on_open(turn.exchange)
        self._find_upstream(turn)

    def _find_upstream(self, turn: ExchangeState) -> None:
        """Use the kept connection if it is this user's, or open one."""
        if self._link.fits(turn.admit.upstream, turn.admit.user_id):
            self._connected(turn)
        else:
            turn.candidates = turn.admit.upstream.candidates(self._now)
            self._connect(turn)

    def _reconnect(self, turn: ExchangeState) -> None:
        self._phase, turn.reply, turn.repeatable = Phase.HELD, None, False
        turn.candidates = turn.admit.upstream.candidates(self._now)
        self._connect(turn)

    def _connect(self, turn: ExchangeState) -> None:
        """Try the next address."""
        if turn.candidates:
            self._link.open(turn.admit.upstream, turn.candidates.pop(0), turn.admit.user_id)
            self._due(self._limits.connect_seconds)
        else:
            self._refuse(turn, _UNREACHABLE, close=True)

    def _connect_failed(self) -> None:
        link, turn = self._link, self._turn
        if link.upstream is not None and link.address is not None:
            link.upstream.mark_failed(link.address, self._now)
        link.close()
        if turn is not None and self._phase is Phase.HELD:
            self._connect(turn)

    def _connect_ended(self, event: events.OpenConnectionCompleted) -> None:
        link, turn = self._link, self._turn
        if event.reply is not None:
            self._connect_failed()
            return
        link.state = State.OPEN
        if link.upstream is not None and link.address is not None:
            link.upstream.mark_reachable(link.address)
        if turn is not None and self._phase is Phase.HELD:
            self._connected(turn)

    def _connected(self, turn: ExchangeState) -> None:
        """The upstream connection stands and nothing was sent: now the paid clock may start."""
        turn.exchange.address = self._link.address
        if turn.admit.first_use and not turn.is_first_use_done:
            turn.first_use = FirstUse(turn.exchange)
            self._due(self._limits.admit_seconds)
            self._ask(turn, FirstUseHook(turn.first_use))
        else:
            self._forward(turn)

    def _waited_too_long(self, turn: ExchangeState) -> None:
        """A request was held for too long: by the upstream, by its own body, or by our stores."""
        if self._link.state is State.CONNECTING:
            self._connect_failed()
        elif turn.collecting:
            self._refuse(turn, TOO_SLOW, close=True)
        else:
            self._refuse(turn, _BUSY, close=True)

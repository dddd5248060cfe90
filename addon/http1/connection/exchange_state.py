"""The state of the exchange under way on one client connection."""

from enum import Enum, auto

from mitmproxy.proxy.commands import StartHook

from addon.http1.decisions import Admit, Peer, Refuse
from addon.http1.exchange import Exchange
from addon.http1.messages.body_framing import BodyReader
from addon.http1.messages.heads import RequestHead
from addon.http1.messages.response import UpstreamResponse
from addon.http1.observe.recording import Recording
from addon.http1.policy_interface import Activation, Question


class Phase(Enum):
    """The phases of an exchange, in order."""

    # The request waits for a decision, for the upstream connection, or for the token's activation.
    WAITING = auto()
    # The request head was sent upstream and its body follows.
    SENDING_REQUEST = auto()
    # The request is complete; the response is awaited or under way.
    REQUEST_SENT = auto()
    # After a WebSocket upgrade.
    TUNNEL = auto()


class ExchangeError(Exception):
    """The exchange under way cannot be completed; `refusal` answers a client that has no response yet."""

    def __init__(self, refusal: Refuse, *, close: bool = False) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal
        self.close = close


class ExchangeState:
    """Everything that is kept for one exchange; the next one gets a new object, so nothing can leak into it.

    `request`, `peer`, `admit`, `question` and `activation` are unset until they are known: reading one too early raises
    AttributeError, which refuses the request.
    """

    __slots__ = (
        "activation",
        "admit",
        "body",
        "client_ended",
        "collect_limit",
        "cors_lines",
        "exchange",
        "expects_continue",
        "is_activated",
        "is_retryable",
        "is_websocket",
        "peer",
        "pending_hook",
        "phase",
        "question",
        "recordings",
        "request",
        "response",
        "upstream_ended",
    )
    request: RequestHead
    peer: Peer
    admit: Admit
    question: Question
    activation: Activation

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.phase = Phase.WAITING
        self.body: BodyReader | None = None
        self.response: UpstreamResponse | None = None
        self.pending_hook: StartHook | None = None
        # The policy reads the request body, up to this many bytes; 0: it does not.
        self.collect_limit = 0
        # CORS header lines for a response that does not come from the upstream as well.
        self.cors_lines = b""
        # The client waits for 100 Continue before it sends its body.
        self.expects_continue = False
        self.is_websocket = False
        self.recordings: list[Recording] = []
        self.is_activated = False
        # The upstream may have closed the kept connection before it saw the request, which can be sent again.
        self.is_retryable = False
        self.client_ended = False
        self.upstream_ended = False

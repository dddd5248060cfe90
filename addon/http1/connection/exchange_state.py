"""What the layer keeps for the exchange that is running, and throws away with it."""

from mitmproxy.proxy.commands import StartHook

from addon.http1.decisions import Admit, Peer
from addon.http1.exchange import Exchange
from addon.http1.messages.body_framing import BodyReader
from addon.http1.messages.head_parser import RequestHead
from addon.http1.messages.response import UpstreamResponse
from addon.http1.observe.recording import Recording
from addon.http1.policy_interface import FirstUse, Question
from addon.http1.upstream import Address


class ExchangeState:
    """One exchange from the inside; each has a new one, so that nothing of the last can be taken for this.

    `request`, `peer` and `admit` have no value until they are known: to use one too early is an error, and an
    error refuses the request.
    """

    __slots__ = (
        "admit",
        "asked",
        "body",
        "candidates",
        "client_ended",
        "collecting",
        "cors",
        "exchange",
        "expecting",
        "first_use",
        "is_first_use_done",
        "is_websocket",
        "peer",
        "question",
        "recordings",
        "repeatable",
        "reply",
        "request",
        "upstream_ended",
    )
    request: RequestHead
    peer: Peer
    admit: Admit
    question: Question
    first_use: FirstUse
    candidates: list[Address]

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.body: BodyReader | None = None
        self.reply: UpstreamResponse | None = None
        # The hook whose answer is awaited.
        self.asked: StartHook | None = None
        # The policy wants to read the body, up to so many bytes.
        self.collecting = 0
        # Header lines for whatever answers a script of a foreign page.
        self.cors = b""
        # The client waits for 100 Continue before it sends its body.
        self.expecting = False
        self.is_websocket = False
        self.recordings: list[Recording] = []
        self.is_first_use_done = False
        # The upstream may have closed the kept connection before it saw the request, which can be sent again.
        self.repeatable = False
        self.client_ended = False
        self.upstream_ended = False

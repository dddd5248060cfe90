"""What the layer asks, and what it is told: it knows no tokens, no users and no database."""

from dataclasses import dataclass, field
from typing import Protocol

from addon.http1.decisions import Admit, Decision, Defer, Peer, Refuse
from addon.http1.exchange import Exchange
from addon.http1.messages.head_parser import RequestHead
from addon.http1.upstream import Upstream


@dataclass(slots=True)
class Question:
    """What `admit_slow` is asked; it stays undecided until the policy has answered."""

    exchange: Exchange
    request: RequestHead
    peer: Peer
    body: bytes = b""
    facts: object = None
    decision: Decision | None = None


@dataclass(slots=True)
class FirstUse:
    """What `first_use` is asked: a refusal, or `allowed`; neither is a refusal too."""

    exchange: Exchange
    allowed: bool = False
    refusal: Refuse | None = None


class Policy(Protocol):
    """Decides about requests and is told what became of them.

    `admit` and the callbacks run on the loop and must not block. An exception in `admit`, `admit_slow`,
    `first_use` or `on_open` refuses the request with 500; one in `on_bytes` cuts the exchange.
    """

    def admit(self, request: RequestHead, peer: Peer, exchange: Exchange) -> Decision | Defer:
        """Decide from what is in memory."""

    async def admit_slow(self, question: Question) -> Decision:
        """Decide with the help of stores."""

    async def first_use(self, exchange: Exchange) -> Refuse | None:
        """Start the paid clock and open the session, or refuse."""

    def on_open(self, exchange: Exchange) -> None:
        """Take note of an admitted exchange."""

    def on_bytes(self, exchange: Exchange, received: int, sent: int) -> None:
        """Count body bytes: `received` from the client and handed to the upstream, `sent` the other way."""

    def on_close(self, exchange: Exchange) -> None:
        """Take note that an exchange is over, whether it was admitted or not; called once for each."""


@dataclass(slots=True)
class OpenPolicy:
    """Admits everyone to one upstream: for benchmarks and tests of the layer alone."""

    upstream: Upstream
    closed: list[Exchange] = field(default_factory=list)
    keep: bool = False

    def admit(self, request: RequestHead, peer: Peer, exchange: Exchange) -> Decision | Defer:
        """Admit."""
        return Admit(self.upstream, "token", "user")

    async def admit_slow(self, question: Question) -> Decision:
        """Refuse: nothing was deferred."""
        return Refuse(500, "internal", "Nothing was deferred.")

    async def first_use(self, exchange: Exchange) -> Refuse | None:
        """Allow."""
        return None

    def on_open(self, exchange: Exchange) -> None:
        """Do nothing."""

    def on_bytes(self, exchange: Exchange, received: int, sent: int) -> None:
        """Do nothing."""

    def on_close(self, exchange: Exchange) -> None:
        """Keep the exchange for a test to look at."""
        if self.keep:
            self.closed.append(exchange)

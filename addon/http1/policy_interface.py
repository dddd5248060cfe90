"""Interface between the HTTP layer and the policy that admits requests and counts bytes."""

from dataclasses import dataclass, field
from typing import Protocol

from addon.http1.decisions import Admit, Decision, Defer, Peer, Refuse
from addon.http1.exchange import Exchange
from addon.http1.messages.heads import RequestHead
from addon.http1.upstream import Upstream


@dataclass(slots=True)
class Question:
    """The arguments of `admit_slow`, and its decision; None until the policy has decided."""

    exchange: Exchange
    request: RequestHead
    peer: Peer
    body: bytes = b""
    policy_data: object = None
    decision: Decision | None = None


@dataclass(slots=True)
class Activation:
    """The argument of `activate`, and its result; with neither `allowed` nor a refusal, the layer refuses."""

    exchange: Exchange
    allowed: bool = False
    refusal: Refuse | None = None


class Policy(Protocol):
    """Decides about requests and is notified of what happens to them.

    `admit` and the callbacks run on the event loop and must not block. An exception in `admit`, `admit_slow`,
    `activate` or `on_open` refuses the request with 500; one in `on_bytes` aborts the exchange.
    """

    def admit(self, request: RequestHead, peer: Peer, exchange: Exchange) -> Decision | Defer:
        """Decide from memory."""

    async def admit_slow(self, question: Question) -> Decision:
        """Decide with I/O."""

    async def activate(self, exchange: Exchange) -> Refuse | None:
        """Activate the token and open the session, or return a refusal."""

    def on_open(self, exchange: Exchange) -> None:
        """An exchange was admitted."""

    def on_bytes(self, exchange: Exchange, received: int, sent: int) -> None:
        """Count body bytes: `received` from the client and sent upstream, `sent` to the client."""

    def on_close(self, exchange: Exchange) -> None:
        """An exchange has ended, admitted or not; called once for each."""


@dataclass(slots=True)
class OpenPolicy:
    """Admits every request to one upstream: for benchmarks and tests of the layer alone."""

    upstream: Upstream
    closed: list[Exchange] = field(default_factory=list)
    keep: bool = False

    def admit(self, request: RequestHead, peer: Peer, exchange: Exchange) -> Decision | Defer:
        """Admit."""
        return Admit(self.upstream, "token", "user")

    async def admit_slow(self, question: Question) -> Decision:
        """Refuse: nothing was deferred."""
        return Refuse(500, "internal", "Nothing was deferred.")

    async def activate(self, exchange: Exchange) -> Refuse | None:
        """Allow."""
        return None

    def on_open(self, exchange: Exchange) -> None:
        """Do nothing."""

    def on_bytes(self, exchange: Exchange, received: int, sent: int) -> None:
        """Do nothing."""

    def on_close(self, exchange: Exchange) -> None:
        """Keep the exchange if a test asks for it."""
        if self.keep:
            self.closed.append(exchange)

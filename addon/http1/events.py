"""The layer's own events and policy hooks, and the interface to its sockets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mitmproxy.proxy.commands import StartHook
from mitmproxy.proxy.events import Event

from addon.http1.decisions import Refuse
from addon.http1.policy_interface import Activation, Question
from addon.http1.upstream_pool.connection import UpstreamConnection


class Tick(Event):
    """The layer's deadline has passed."""


class Drain(Event):
    """The worker is stopping: finish the exchange under way and serve no further one."""


@dataclass
class ClientClosed(Event):
    """The client's FIN was received; bytes that it sent before may not have been read yet."""

    # The connection was reset, or both sides have ended: nothing more can be sent.
    is_lost: bool


@dataclass
class Abort(Event):
    """End the exchange under way and the connection at once."""

    refusal: Refuse


@dataclass(slots=True)
class UpstreamProgressed(Event):
    """The connection has left the queue, or TCP is connected and the TLS handshake has begun."""

    connection: UpstreamConnection


@dataclass(slots=True)
class UpstreamOpened(Event):
    """A connection is open; after a wait in the queue, possibly another one than was asked for."""

    connection: UpstreamConnection


@dataclass(slots=True)
class UpstreamFailed(Event):
    """The connection could not be opened."""

    connection: UpstreamConnection


@dataclass(slots=True)
class UpstreamData(Event):
    """Bytes from the upstream."""

    connection: UpstreamConnection
    data: bytes


@dataclass(slots=True)
class UpstreamEnded(Event):
    """The upstream has ended its side of the connection."""

    connection: UpstreamConnection
    # The connection was lost (reset, for instance) rather than closed.
    is_lost: bool


@dataclass
class AdmitSlowHook(StartHook):
    """Ask the policy for a decision that needs I/O."""

    data: Question


@dataclass
class ActivateHook(StartHook):
    """Ask the policy to activate the token; the upstream is connected, and nothing was sent to it."""

    data: Activation


class Sockets(Protocol):
    """Control over one client's socket that mitmproxy's commands do not offer, and its events."""

    def deliver(self, event: Event) -> None:
        """Pass an event to the layer; it is handled at once, or after the one that is being handled."""

    def pause(self) -> None:
        """Stop reading from the client; bytes that were read already may still be delivered."""

    def resume(self) -> None:
        """Read from the client again."""

    def abort(self) -> None:
        """Drop what was not sent and reset the connection."""

    def unsent_bytes(self) -> int:
        """Return how many bytes the peer has not taken yet."""

    def is_lost(self) -> bool:
        """Return whether the connection was lost, other than by a FIN."""

    def abort_unless_flushed(self) -> None:
        """Abort a connection that is being closed if the peer does not take its last bytes in time."""

    def is_congested(self) -> bool:
        """Return whether so much is unsent that no more should be read for the peer."""

    def when_drained(self, resume: Callable[[], None]) -> None:
        """Call `resume` once the peer has taken most of what was sent, or is lost."""


class ConnectionSockets(Sockets, Protocol):
    """The handler of one client connection, as the worker's HTTP addon sees it."""

    client_id: str
    fileno: int

    def close(self) -> None:
        """Close a connection that has no layer."""

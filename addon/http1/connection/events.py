"""What reaches a layer besides bytes: our own events, the hooks it asks, and control over its sockets."""

from dataclasses import dataclass
from typing import Protocol

from mitmproxy.connection import Connection
from mitmproxy.proxy.commands import StartHook
from mitmproxy.proxy.events import Event

from addon.http1.decisions import Refuse
from addon.http1.policy_interface import FirstUse, Question


class Tick(Event):
    """The layer's deadline has passed."""


class Drain(Event):
    """The worker is going away: finish what is running, take nothing new."""


@dataclass
class ClientClosed(Event):
    """The client has ended its side of the connection; what it sent before may not be read yet."""

    # It was reset, or has ended both sides: nothing more can be sent to it.
    is_lost: bool


@dataclass
class Abort(Event):
    """End what is in flight, now, for the reason given."""

    refusal: Refuse


@dataclass
class AdmitSlowHook(StartHook):
    """Ask the policy for a decision that needs I/O."""

    data: Question


@dataclass
class FirstUseHook(StartHook):
    """Ask the policy to start the paid clock; the upstream connection stands, and nothing was sent."""

    data: FirstUse


class Sockets(Protocol):
    """Control over the sockets of one client's connections, which mitmproxy's commands do not offer."""

    def pause(self) -> None:
        """Stop reading from the client; bytes that were read already may still come."""

    def resume(self) -> None:
        """Read from the client again."""

    def abort(self, connection: Connection) -> None:
        """Drop what was not sent and reset the connection."""

    def unsent_bytes(self, connection: Connection) -> int:
        """How many bytes the peer has not taken yet."""

    def is_lost(self, connection: Connection) -> bool:
        """Whether the connection was lost, other than by an orderly end of the peer's bytes."""

    def keep_readable(self, connection: Connection) -> None:
        """Keep what a connection receives readable when it is reset while something is sent on it."""

    def drop_readable(self) -> None:
        """Let go of the connection that is held; before its end, or the peer would not see that."""

    def take_unread(self, connection: Connection) -> bytes:
        """Return what a lost connection had received, and nobody was given."""

    def abort_unless_flushed(self, connection: Connection) -> None:
        """The connection is being closed: abort it if its last bytes are not taken in time."""

"""The layer's own events and policy hooks, and the interface to its sockets."""

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


@dataclass
class AdmitSlowHook(StartHook):
    """Ask the policy for a decision that needs I/O."""

    data: Question


@dataclass
class FirstUseHook(StartHook):
    """Ask the policy to activate the token; the upstream is connected, and nothing was sent to it."""

    data: FirstUse


class Sockets(Protocol):
    """Control over the sockets of one client's connections that mitmproxy's commands do not offer."""

    def pause(self) -> None:
        """Stop reading from the client; bytes that were read already may still be delivered."""

    def resume(self) -> None:
        """Read from the client again."""

    def abort(self, connection: Connection) -> None:
        """Drop what was not sent and reset the connection."""

    def unsent_bytes(self, connection: Connection) -> int:
        """Return how many bytes the peer has not taken yet."""

    def is_lost(self, connection: Connection) -> bool:
        """Return whether the connection was lost, other than by a FIN."""

    def keep_readable(self, connection: Connection) -> None:
        """Keep received bytes readable if the connection is reset while something is sent on it."""

    def drop_readable(self) -> None:
        """Undo `keep_readable`; needed before the connection is closed, or the peer would not see the close."""

    def take_unread(self, connection: Connection) -> bytes:
        """Return bytes that a lost connection had received and that were not delivered."""

    def abort_unless_flushed(self, connection: Connection) -> None:
        """Abort a connection that is being closed if the peer does not take its last bytes in time."""

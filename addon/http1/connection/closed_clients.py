"""Detects clients that close their connection while nothing is read from it.

A client's FIN lies behind its bytes. Reading stops while a client is paused for sending ahead, and while a peer does
not take what it is sent: without a look at the socket itself, the request of a client that has left would keep its slot
until a deadline ends it.
"""

import select

from addon.http1.connection.handler_sockets import HandlerSockets

_GONE = select.EPOLLHUP | select.EPOLLERR


class ClosedClientDetector:
    """The client sockets of one worker; a look at all of them costs one system call."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._clients: dict[int, HandlerSockets] = {}

    def watch(self, sockets: HandlerSockets) -> None:
        """Watch a client's socket until it is closed."""
        # Level-triggered: a FIN that came before its request was read counts for that request too.
        if sockets.fileno >= 0:
            self._epoll.register(sockets.fileno, select.EPOLLRDHUP)
            self._clients[sockets.fileno] = sockets

    def forget(self, sockets: HandlerSockets) -> None:
        """Drop a connection that is closed; the kernel has taken its socket out already."""
        # Its number may be a newer connection's by now.
        if self._clients.get(sockets.fileno) is sockets:
            del self._clients[sockets.fileno]

    def sweep(self) -> list[tuple[HandlerSockets, bool]]:
        """Return the clients that have ended their side of the connection, and whether they are gone for good."""
        found = [(self._clients.get(number), bool(events & _GONE)) for number, events in self._epoll.poll(0)]
        return [(sockets, is_lost) for sockets, is_lost in found if sockets is not None]

    def close(self) -> None:
        """Stop watching."""
        self._epoll.close()

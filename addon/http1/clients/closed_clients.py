"""Detects clients that close their connection while nothing is read from it.

A client's FIN is queued behind its bytes. Reading stops while a client that sent too much is paused, and while the
other side does not accept what it is sent. Without polling the socket itself, the request of a client that has closed
would then keep its slot until a deadline ends it.
"""

import select

from addon.http1.events import ConnectionSockets

_LOST = select.EPOLLHUP | select.EPOLLERR


class ClosedClientDetector:
    """The client sockets of one worker; one system call polls all of them."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._clients: dict[int, ConnectionSockets] = {}
        self._numbers: dict[str, int] = {}

    def watch(self, sockets: ConnectionSockets) -> None:
        """Watch a client's socket until it is closed."""
        # Level-triggered: a FIN that was received before its request was read counts for that request too.
        if sockets.fileno >= 0:
            self._epoll.register(sockets.fileno, select.EPOLLRDHUP)
            self._clients[sockets.fileno] = sockets
            self._numbers[sockets.client_id] = sockets.fileno

    def forget(self, client_id: str) -> None:
        """Remove a connection that is closed; the kernel has removed its socket from epoll already."""
        number = self._numbers.pop(client_id, None)
        if number is None:
            return
        # A newer connection may have its file descriptor by now.
        sockets = self._clients.get(number)
        if sockets is not None and sockets.client_id == client_id:
            del self._clients[number]

    def sweep(self) -> list[tuple[ConnectionSockets, bool]]:
        """Return the clients that have ended their side of the connection, each with whether it is lost."""
        found = [(self._clients.get(number), bool(events & _LOST)) for number, events in self._epoll.poll(0)]
        return [(sockets, is_lost) for sockets, is_lost in found if sockets is not None]

    def close(self) -> None:
        """Stop watching."""
        self._epoll.close()

"""Accept connections stuck in another worker's listen queue (dead, hung or still starting).

Each worker has a listening socket of its own, and the kernel spreads connections over all of them, whether or not
somebody accepts. A worker that was killed, hangs or is only just starting leaves its share waiting.
"""

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable, Sequence

from addon.process.listening_sockets import accept_pending

POLL_INTERVAL_SECONDS = 0.2
BATCH_SIZE = 64


class StrandedConnections:
    """Looks at the other workers' sockets a few times a second."""

    def __init__(self, listeners: Sequence[socket.socket], new_handler: Callable[[], asyncio.BaseProtocol]) -> None:
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._new_handler = new_handler
        self._poll = select.poll()
        for number in self._listeners:
            self._poll.register(number, select.POLLIN)

    async def watch(self) -> None:
        """Take what was waiting at two looks in a row, until cancelled."""
        waited: set[int] = set()
        while True:
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
            waiting = {number for number, _ in self._poll.poll(0)}
            for number in waiting & waited:
                await self._take(self._listeners[number])
            waited = waiting

    async def _take(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(BATCH_SIZE):
            try:
                connection, _ = listener.accept()
            except OSError:  # somebody was quicker, or the client has left, or there are no descriptors
                return
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._new_handler, connection)

    def close(self) -> list[socket.socket]:
        """Let go of the sockets and return what waited there: this worker may be the last that holds them."""
        taken = [connection for listener in self._listeners.values() for connection in accept_pending(listener)]
        for listener in self._listeners.values():
            listener.close()
        self._listeners = {}
        return taken

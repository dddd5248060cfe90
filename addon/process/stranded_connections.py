"""Accept connections stuck in another worker's listen queue (dead, hung or still starting).

Each worker has its own listening socket, and the kernel distributes connections over all sockets, whether or not a
process accepts. Connections to the socket of a worker that was killed, hangs or is still starting wait in its queue.
"""

import asyncio
import select
import socket
from collections.abc import Callable, Sequence

from addon.process.listening_sockets import accept_pending

POLL_INTERVAL_SECONDS = 0.2
BATCH_SIZE = 64


class StrandedConnections:
    """Polls the other workers' sockets a few times a second."""

    def __init__(self, listeners: Sequence[socket.socket], adopt: Callable[[socket.socket], None]) -> None:
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._adopt = adopt
        self._poll = select.poll()
        for number in self._listeners:
            self._poll.register(number, select.POLLIN)

    async def watch(self) -> None:
        """Accept connections from sockets that had any at two polls in a row; returns at once without any."""
        waited: set[int] = set()
        while self._listeners:
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
            waiting = {number for number, _ in self._poll.poll(0)}
            for number in waiting & waited:
                self._take(self._listeners[number])
            waited = waiting

    def _take(self, listener: socket.socket) -> None:
        for _ in range(BATCH_SIZE):
            try:
                connection, _ = listener.accept()
            except OSError:  # another worker was faster, the client has closed, or no descriptors are left
                return
            self._adopt(connection)

    def close(self) -> list[socket.socket]:
        """Close the sockets and return the connections in their queues: this worker may be the last owner."""
        taken = [connection for listener in self._listeners.values() for connection in accept_pending(listener)]
        for listener in self._listeners.values():
            listener.close()
        self._listeners = {}
        return taken

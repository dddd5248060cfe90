"""Accepts a worker's client connections in portions, so that open connections are served in between."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable

logger = logging.getLogger(__name__)

# A new connection takes about as long as two requests: so many delay the open ones by a few milliseconds.
BATCH_SIZE = 16
# Without descriptors or memory nothing can be accepted: the queue is tried again after this.
RETRY_SECONDS = 0.5
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Accepts on one listening socket. Used on the event loop only."""

    def __init__(self, listener: socket.socket, new_handler: Callable[[], asyncio.BaseProtocol]) -> None:
        self._listener = listener
        self._new_handler = new_handler
        self._retry: asyncio.TimerHandle | None = None
        # The loop keeps weak references to tasks only.
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_accepting = False

    def start(self, backlog: int) -> None:
        """Listen, and begin to accept."""
        self._listener.listen(backlog)
        self._resume()

    def _resume(self) -> None:
        self._retry = None
        self.is_accepting = True
        asyncio.get_running_loop().add_reader(self._listener, self._accept_batch)

    def stop(self) -> None:
        """Accept no more; what waits in the queue stays there."""
        self.is_accepting = False
        if self._retry is not None:
            self._retry.cancel()
        else:
            asyncio.get_running_loop().remove_reader(self._listener)

    def _accept_batch(self) -> None:
        for _ in range(BATCH_SIZE):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # The client may have left again.
                if error.errno in _EXHAUSTED:
                    logger.warning("no connection can be accepted: %s", error.strerror)
                    asyncio.get_running_loop().remove_reader(self._listener)
                    self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._resume)
                return
            self.adopt(connection)

    def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that was accepted."""
        connection.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(self._new_handler, connection)

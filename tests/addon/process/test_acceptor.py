"""New connections are accepted in portions: a burst of them does not stop the open ones."""

import asyncio
import socket

from addon.process.acceptor import BATCH_SIZE, Acceptor
from addon.process.listening_sockets import listening_socket


def test_a_portion_is_accepted_before_anything_else_runs():
    async def main() -> list[int]:
        listener = listening_socket("127.0.0.1", 0)
        made: list[asyncio.Protocol] = []
        seen: list[int] = []

        def new() -> asyncio.Protocol:
            made.append(asyncio.Protocol())
            return made[-1]

        acceptor = Acceptor(listener, new)
        acceptor.start(100)
        crowd = [socket.create_connection(listener.getsockname()) for _ in range(3 * BATCH_SIZE)]
        while len(made) < len(crowd):
            await asyncio.sleep(0)  # One iteration of the loop.
            seen.append(len(made))
        acceptor.stop()
        listener.close()
        for connection in crowd:
            connection.close()
        return seen

    seen = asyncio.run(main())
    steps = [later - earlier for earlier, later in zip([0, *seen], seen, strict=False)]
    assert max(steps) <= BATCH_SIZE
    assert seen[-1] == 3 * BATCH_SIZE

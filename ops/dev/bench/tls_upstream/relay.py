"""TCP relay that delays everything by a time in each direction, as a network with that one-way delay would."""

import argparse
import asyncio
from collections import deque

from ops.processes.ports import LOOPBACK


class Delayed:
    """Chunks on their way to a transport: each is written `delay` seconds after its arrival, in order.

    Chunks do not wait for each other, so the delay does not limit the throughput. The event loop's timers alone would
    not keep the order of chunks that are due at the same time.
    """

    def __init__(self, delay: float, not_before: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._delay, self._not_before = delay, not_before
        self._chunks: deque[tuple[float, bytes | None]] = deque()
        self._target: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def to(self, target: asyncio.Transport) -> None:
        """Deliver to this transport; earlier chunks have waited for it."""
        self._target = target
        self._deliver()

    def add(self, chunk: bytes | None) -> None:
        """Add a chunk that has just arrived; None closes the transport."""
        sent = max(self._loop.time(), self._not_before)
        self._chunks.append((sent + self._delay, chunk))
        if self._timer is None:
            self._deliver()

    def _deliver(self) -> None:
        self._timer = None
        target = self._target
        while target is not None and self._chunks:
            due, chunk = self._chunks[0]
            if due > self._loop.time():
                self._timer = self._loop.call_at(due, self._deliver)
                return
            self._chunks.popleft()
            if chunk is None:
                target.close()
            else:
                target.write(chunk)


class Side(asyncio.Protocol):
    """One of the two connections of a relayed one; `outgoing` takes what arrives here to the other."""

    def __init__(self, outgoing: Delayed) -> None:
        self._outgoing = outgoing

    def data_received(self, data: bytes) -> None:
        self._outgoing.add(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        self._outgoing.add(None)


class ClientSide(Side):
    """A client's connection, which opens the one to the upstream.

    The kernel accepts at once, but a distant server's SYN-ACK takes two delays: the client's first bytes, which it
    would send only then, start their way two delays after the connection was accepted.
    """

    def __init__(self, upstream: int, delay: float) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(Delayed(delay, loop.time() + 2 * delay))
        self._upstream = upstream
        self._incoming = Delayed(delay)
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._incoming.to(transport)
        self._task = asyncio.create_task(self._connect(transport))

    async def _connect(self, client: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            upstream, _ = await loop.create_connection(lambda: Side(self._incoming), LOOPBACK, self._upstream)
        except OSError:
            client.abort()
        else:
            self._outgoing.to(upstream)


async def serve(port: int, upstream: int, delay: float) -> asyncio.Server:
    """Relay connections from a port to another, `delay` seconds away."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: ClientSide(upstream, delay), LOOPBACK, port, backlog=1024)


async def _serve(options: argparse.Namespace) -> None:
    server = await serve(options.port, options.upstream, options.delay_ms / 1000)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, required=True)
    asyncio.run(_serve(parser.parse_args()))

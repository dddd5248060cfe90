"""HTTP clients for what wrk does not do: large transfers, idle connections, and a fixed rate of requests.

wrk and Locust wait for a response before they send the next request, which hides the time that a request had to wait.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse
from itertools import cycle

from ops.console import Failure
from ops.processes.ports import LOOPBACK

PIECE = bytes(256 * 1024)
HEADER = "X-Access-Token"
TIMEOUT = 60.0
DRAIN_SECONDS = 15.0
# With this many connections in use, a due request waits, as it would for the connection pool of any client.
POOL = 256


def _connect(port: int) -> HTTPConnection:
    return HTTPConnection(LOOPBACK, port, timeout=TIMEOUT)


def _response(connection: HTTPConnection) -> HTTPResponse:
    response = connection.getresponse()
    if response.status != HTTPStatus.OK:
        raise Failure(f"The response was {response.status} instead of 200.")
    return response


def download(port: int, secret: str, size: int) -> float:
    """Download the big file; returns the seconds. Raises Failure unless it has `size` bytes."""
    with closing(_connect(port)) as connection:
        begun, received, buffer = time.perf_counter(), 0, bytearray(1024 * 1024)
        connection.request("GET", "/big", headers={HEADER: secret})
        response = _response(connection)
        while count := response.readinto(buffer):
            received += count
        if received != size:
            raise Failure(f"A download had {received} bytes instead of {size}.")
        return time.perf_counter() - begun


def upload(port: int, secret: str, size: int) -> float:
    """Upload `size` bytes; returns the seconds until the response."""
    pieces = (PIECE[: min(len(PIECE), size - offset)] for offset in range(0, size, len(PIECE)))
    with closing(_connect(port)) as connection:
        begun = time.perf_counter()
        connection.request("POST", "/upload", pieces, {HEADER: secret, "Content-Length": str(size)})
        _response(connection).read()
        return time.perf_counter() - begun


def open_connection(port: int, secret: str) -> socket.socket:
    """Fetch the small reply and return the connection's socket, which stays open."""
    connection = _connect(port)
    connection.request("GET", "/small", headers={HEADER: secret})
    _response(connection).read()
    return connection.sock


class Idle:
    """Connections that were used once and are kept open."""

    def __init__(self, port: int, secrets: Sequence[str], count: int) -> None:
        self._connections: list[socket.socket] = []
        for secret, _ in zip(cycle(secrets), range(count), strict=False):
            self._connections.append(open_connection(port, secret))

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@dataclass(frozen=True)
class Arrivals:
    """Results at a fixed rate: latencies in ms, counted from the time at which a request was due."""

    offered: int
    errors: int
    p50: float
    p95: float
    p99: float
    highest: float


def steady(port: int, secrets: Sequence[str], rate: int, seconds: float) -> Arrivals:
    """Send requests at a fixed rate on kept connections; a slow response does not delay the next request."""
    return asyncio.run(_steady(port, secrets, rate, seconds))


async def _steady(port: int, secrets: Sequence[str], rate: int, seconds: float) -> Arrivals:
    loop = asyncio.get_running_loop()
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    latencies: list[float] = []
    pool = asyncio.Semaphore(POOL)
    heads = cycle([f"GET /small HTTP/1.1\r\nHost: bench\r\n{HEADER}: {secret}\r\n\r\n".encode() for secret in secrets])

    async def ask(head: bytes, due: float) -> None:
        async with pool:
            await exchange(head)
        latencies.append((loop.time() - due) * 1000)

    async def exchange(head: bytes) -> None:
        reader, writer = free.pop() if free else await asyncio.open_connection(LOOPBACK, port)
        try:
            writer.write(head)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            if answer[9:12] != b"200":
                raise ConnectionError
        except BaseException:
            writer.close()
            raise
        free.append((reader, writer))

    failed: list[BaseException] = []
    # Only the running tasks: gathering all tasks of the run at its end would delay the last responses.
    running: set[asyncio.Task[None]] = set()

    def finished(task: asyncio.Task[None]) -> None:
        running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            failed.append(error)

    offered = max(int(rate * seconds), 1)
    begun = loop.time()
    for number, head in zip(range(offered), heads, strict=False):
        due = begun + number / rate
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        task = loop.create_task(ask(head, due))
        running.add(task)
        task.add_done_callback(finished)
    late = (await asyncio.wait(list(running), timeout=DRAIN_SECONDS))[1] if running else set()
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for _, writer in free:
        writer.close()
    return arrivals(offered, len(late) + len(failed), latencies)


def arrivals(offered: int, errors: int, latencies: list[float]) -> Arrivals:
    """Return the percentiles of latencies in ms."""
    ordered = sorted(latencies) or [0.0]

    def at(share: float) -> float:
        return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 2)

    return Arrivals(offered, errors, at(0.5), at(0.95), at(0.99), round(ordered[-1], 2))

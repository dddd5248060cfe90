"""Clients of the benchmark's own: big transfers, a steady rate whatever the answers do, and many idle connections."""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from ops.console import Failure
from ops.processes.ports import LOOPBACK

PIECE = memoryview(bytes(256 * 1024))
PATIENCE_SECONDS = 60.0
LATEST_SECONDS = 15.0
# Beyond this many, a request that is due waits for a connection: so does a pool in front of any gateway.
POOL = 256


def _head(method: str, path: str, secret: str, length: int = 0) -> bytes:
    body = f"Content-Length: {length}\r\n" if method == "POST" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: bench\r\nX-Access-Token: {secret}\r\n{body}\r\n".encode()


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read a reply's head; return its Content-Length and what has come of its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65536)
        if not data:
            raise Failure("A connection ended before its answer.")
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    if head[9:12] != b"200":
        raise Failure(f"The answer was {head.splitlines()[0].decode('latin-1')} instead of 200.")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if not lengths:
        raise Failure("An answer without Content-Length came.")
    return int(lengths[0]), body


def _connect(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=PATIENCE_SECONDS)


def download(port: int, secret: str, size: int) -> float:
    """Fetch the big file and return the seconds that took."""
    with _connect(port) as connection:
        begun = time.perf_counter()
        connection.sendall(_head("GET", "/big", secret))
        length, body = _answer(connection)
        left, buffer = length - len(body), bytearray(1024 * 1024)
        while left > 0:
            count = connection.recv_into(buffer)
            if not count:
                raise Failure("A download ended early.")
            left -= count
        if length != size:
            raise Failure(f"A download had {length} bytes instead of {size}.")
        return time.perf_counter() - begun


def upload(port: int, secret: str, size: int) -> float:
    """Send as many bytes and return the seconds until the answer."""
    with _connect(port) as connection:
        begun = time.perf_counter()
        connection.sendall(_head("POST", "/upload", secret, size))
        for offset in range(0, size, len(PIECE)):
            connection.sendall(PIECE[: min(len(PIECE), size - offset)])
        _answer(connection)
        return time.perf_counter() - begun


def visit(port: int, secret: str) -> socket.socket:
    """Ask for the small reply and return the connection, which is kept."""
    connection = _connect(port)
    connection.sendall(_head("GET", "/small", secret))
    length, body = _answer(connection)
    while len(body) < length:
        body += connection.recv(65536)
    return connection


class Idle:
    """Connections that have been used once and are kept open."""

    def __init__(self, port: int, secrets: Sequence[str], count: int) -> None:
        self._connections: list[socket.socket] = []
        for secret, _ in zip(cycle(secrets), range(count), strict=False):
            self._connections.append(visit(port, secret))

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@dataclass(frozen=True)
class Arrivals:
    """What clients saw who came at a fixed rate: latencies in ms, counted from when a request was due."""

    offered: int
    errors: int
    p50: float
    p95: float
    p99: float
    highest: float


def steady(port: int, secrets: Sequence[str], rate: int, seconds: float) -> Arrivals:
    """Send requests at a fixed rate, on kept connections; one that waits does not hold the next one up."""
    return asyncio.run(_steady(port, secrets, rate, seconds))


async def _steady(port: int, secrets: Sequence[str], rate: int, seconds: float) -> Arrivals:
    loop = asyncio.get_running_loop()
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    latencies: list[float] = []
    pool = asyncio.Semaphore(POOL)
    heads = cycle([_head("GET", "/small", secret) for secret in secrets])

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
    # Only those under way: to wait for all that were ever made would hold the last one up for as long as that takes.
    asking: set[asyncio.Task[None]] = set()

    def finished(task: asyncio.Task[None]) -> None:
        asking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            failed.append(error)

    offered = max(int(rate * seconds), 1)
    begun = loop.time()
    for number, head in zip(range(offered), heads, strict=False):
        due = begun + number / rate
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        task = loop.create_task(ask(head, due))
        asking.add(task)
        task.add_done_callback(finished)
    late = (await asyncio.wait(list(asking), timeout=LATEST_SECONDS))[1] if asking else set()
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for _, writer in free:
        writer.close()
    return arrivals(offered, len(late) + len(failed), latencies)


def arrivals(offered: int, errors: int, latencies: list[float]) -> Arrivals:
    """Put latencies into figures."""
    ordered = sorted(latencies) or [0.0]

    def at(share: float) -> float:
        return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 2)

    return Arrivals(offered, errors, at(0.5), at(0.95), at(0.99), round(ordered[-1], 2))

"""The relay of the benchmark delays every byte, keeps their order and does not limit the throughput."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

from ops.dev.bench.tls_upstream import relay

DELAY = 0.05
LARGE = 4 * 1024 * 1024


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def relayed(
    delay: float, upstream: int | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a server that returns what it gets, through a relay."""
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with await relay.serve(0, upstream or port, delay) as between:
            reader, writer = await asyncio.open_connection(*between.sockets[0].getsockname())
            try:
                yield reader, writer
            finally:
                writer.close()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> float:
    begun = time.perf_counter()
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    return time.perf_counter() - begun


def test_a_first_exchange_takes_two_round_trips_and_each_later_one_takes_one() -> None:
    async def measure() -> list[float]:
        async with relayed(DELAY) as (reader, writer):
            return [await exchange(reader, writer, b"hello") for _ in range(2)]

    first, later = asyncio.run(measure())
    assert 4 * DELAY <= first < 6 * DELAY
    assert 2 * DELAY <= later < 4 * DELAY


def test_many_chunks_arrive_in_order_and_do_not_wait_for_each_other() -> None:
    async def measure() -> float:
        async with relayed(DELAY) as (reader, writer):
            return await exchange(reader, writer, b"".join(b"%08d" % number for number in range(LARGE // 8)))

    # Read in pieces of at most 256 KiB, one delay for each piece would take more than two seconds.
    assert asyncio.run(measure()) < 1


def test_the_end_of_a_connection_arrives_after_its_last_bytes() -> None:
    async def measure() -> tuple[bytes, float]:
        async def once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"last")
            writer.close()

        server = await asyncio.start_server(once, "127.0.0.1", 0)
        async with server, relayed(DELAY, server.sockets[0].getsockname()[1]) as (reader, _):
            begun = time.perf_counter()
            return await reader.read(), time.perf_counter() - begun

    received, took = asyncio.run(measure())
    assert received == b"last"
    assert took >= DELAY * 0.9


def test_a_refused_upstream_connection_closes_the_clients() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))

        async def read() -> bytes:
            async with relayed(0, taken.getsockname()[1]) as (reader, _):
                with contextlib.suppress(ConnectionResetError):
                    return await reader.read()
                return b""

        assert asyncio.run(read()) == b""

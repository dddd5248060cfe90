"""Connects a pool's connections to the upstream with asyncio."""

import asyncio

from addon.http1.upstream_pool.connection import State, UpstreamConnection
from addon.http1.upstream_pool.pool import UpstreamPool

# The loop keeps weak references to tasks only.
_tasks: set[asyncio.Task[None]] = set()


def dial(pool: UpstreamPool, connection: UpstreamConnection) -> asyncio.Task[None]:
    """Begin to connect; the connection reports to the pool."""
    task = asyncio.get_running_loop().create_task(_connect(pool, connection))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


async def _connect(pool: UpstreamPool, connection: UpstreamConnection) -> None:
    upstream, address = connection.upstream, connection.address
    # Not within the call of the exchange that asks: what is reported here comes back to it as an event.
    await asyncio.sleep(0)
    try:
        if upstream.tls:
            connection.tls = pool.tls.stream(address, upstream.sni or address[0])
        await asyncio.get_running_loop().create_connection(lambda: connection, *address)
    except (OSError, ValueError) as error:  # ValueError: a host name that cannot be one.
        if connection.state is not State.CLOSED:
            pool.failed(connection, str(error))

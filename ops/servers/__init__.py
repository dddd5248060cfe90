"""PostgreSQL and Redis of our own, for `up`, for the tests, and for tests of faults.

Both know `start()`, `stop()`, `kill()` (SIGKILL; a later `start()` finds the data again), `url` and `child.pid`, and
can be used as context managers. After `kill()` and `start()` the `url` is the same.
"""

from ops.servers.postgres import PostgresServer
from ops.servers.redis import RedisServer

__all__ = ["PostgresServer", "RedisServer"]

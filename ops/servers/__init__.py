"""Private PostgreSQL and Redis servers, for `up` and for the tests.

Both have `start()`, `stop()`, `kill()` (SIGKILL; the data survives), `url` and `child.pid`, and are context managers.
After `kill()` and `start()` the `url` is the same.
"""

from ops.servers.postgres import PostgresServer
from ops.servers.redis import RedisServer

__all__ = ["PostgresServer", "RedisServer"]

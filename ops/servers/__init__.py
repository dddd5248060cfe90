"""Private PostgreSQL and Redis servers, for `up` and for the tests.

Both have `start()`, `stop()`, `kill()` (SIGKILL; the data survives), `url` and `child.pid`, and are context managers.
After `kill()` and `start()` the `url` is the same.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ops.servers.postgres import PostgresServer
    from ops.servers.redis import RedisServer

__all__ = ["PostgresServer", "RedisServer"]

_MODULES = {"PostgresServer": "ops.servers.postgres", "RedisServer": "ops.servers.redis"}


def __getattr__(name: str) -> Any:
    """Import a server's module at its first use: the sample upstream is in this package and needs neither client."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)

"""The parts of one connection that its exchanges share: both ends, the deadlines and the worker's settings."""

from dataclasses import dataclass

from addon.http1.connection.client_connection import ClientConnection
from addon.http1.connection.context import WorkerContext
from addon.http1.connection.deadlines import Deadlines
from addon.http1.connection.upstream_link import UpstreamLink


@dataclass(frozen=True, slots=True)
class ConnectionParts:
    """One client connection, and the upstream connection that its exchange holds."""

    worker: WorkerContext
    client: ClientConnection
    upstream: UpstreamLink
    deadlines: Deadlines

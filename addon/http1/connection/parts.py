"""The parts of one connection that its exchanges share: both ends, the deadlines and the worker's settings."""

from dataclasses import dataclass

from addon.http1.connection.client_connection import ClientConnection
from addon.http1.connection.context import WorkerContext
from addon.http1.connection.deadlines import Deadlines
from addon.http1.connection.upstream_connection import UpstreamConnection


@dataclass(frozen=True, slots=True)
class ConnectionParts:
    """One client connection and its kept upstream connection."""

    worker: WorkerContext
    client: ClientConnection
    upstream: UpstreamConnection
    deadlines: Deadlines

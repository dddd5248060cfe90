"""Limits of the upstream connection pool."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds for one worker; zero means no limit where a comment says so."""

    connections: int = 2000  # to one address; zero: any number
    idle: int = 256
    idle_seconds: float = 30.0
    max_requests: int = 0  # of one connection; zero: any number
    max_age_seconds: float = 0.0  # zero: any age
    queue: int = 128  # requests that wait for a connection to one address
    queue_seconds: float = 5.0
    # Whether a connection may carry requests of different users.
    is_shared: bool = False

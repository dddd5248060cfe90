"""Limits of sizes and times for one worker's exchanges."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes; zero means no limit where a comment says so."""

    head_bytes: int = 32 * KIB
    header_count: int = 100
    url_bytes: int = 8 * KIB
    trailer_bytes: int = 8 * KIB
    body_bytes: int = 0  # zero: any size
    # How much a client may send ahead before its socket is paused.
    held_bytes: int = 64 * KIB
    # How much sent ahead ends the connection, where the socket cannot be paused.
    held_hard_bytes: int = 1 * MIB
    # How much is still read after a response that did not wait for the body: a reset could destroy the response.
    linger_bytes: int = 1 * MIB
    linger_seconds: float = 2.0
    informational_heads: int = 32

    head_seconds: float = 15.0
    body_idle_seconds: float = 30.0
    admit_seconds: float = 10.0
    connect_seconds: float = 5.0
    tls_seconds: float = 5.0
    first_byte_seconds: float = 60.0
    response_idle_seconds: float = 120.0
    keep_alive_seconds: float = 75.0
    # An idle client's upstream connection is closed earlier than the client's.
    upstream_idle_seconds: float = 30.0
    tunnel_idle_seconds: float = 600.0
    # Whether a client that ends its side of the connection still wants its response; otherwise it has left.
    half_close: bool = False
    total_seconds: float = 0.0  # zero: as long as both sides make progress
    # How long the upstream may take to answer `Expect: 100-continue` before the worker sends 100 Continue itself.
    expect_seconds: float = 1.0
    # How long an idle client may still send a request to a worker that is stopping.
    drain_idle_seconds: float = 1.0
    # How long a closing socket waits for the peer to take the last bytes.
    flush_seconds: float = 5.0

    connections: int = 10_000
    connections_per_address: int = 0  # zero: no limit per address

"""Latency of a connection for each request to a gateway whose upstream has TLS, near or far away."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from ops.console import Step
from ops.dev.bench.environment import Environment
from ops.dev.bench.load_clients import HEADER, TIMEOUT, arrivals
from ops.dev.bench.sizes import Sizes
from ops.dev.bench.tls_upstream.routes import Route, start
from ops.processes.ports import LOOPBACK

WARM_REQUESTS = 3
# Targets alternate after this many requests, so that a slow minute of the machine affects all alike.
TURN = 10


def measure(environment: Environment, sizes: Sizes) -> list[dict[str, Any]]:
    """Start relays and gateways, and measure at each delay; the processes are stopped with the run."""
    with Step("Relays and gateways of the TLS upstream"):
        routes = start(environment.make, environment.tls, [delay for delay, _ in sizes.tls_requests])
        environment.servers.wait_ready()
    # One client has one token; the first request with it, for which a worker asks PostgreSQL, belongs to the warm-up.
    secret = environment.make.tokens.read_text(encoding="utf-8").split()[0]
    rows = []
    for delay, count in sizes.tls_requests:
        with Step(f"A connection for each request, TLS upstream at {delay} ms"):
            rows += [{"delay_ms": delay, **row} for row in alternate(routes[delay], secret, count)]
    return rows


def alternate(routes: Sequence[Route], secret: str, count: int) -> list[dict[str, Any]]:
    """Send `count` requests by each route, one after the other, each on a new connection."""
    took: dict[str, list[float]] = {route.target: [] for route in routes}
    for route in routes:
        for _ in range(WARM_REQUESTS):
            fetch(route, secret)
    for sent in range(0, count, TURN):
        for route in routes:
            for _ in range(min(TURN, count - sent)):
                seconds = fetch(route, secret)
                took[route.target] += [] if seconds is None else [seconds * 1000]
    return [{"target": name, **asdict(arrivals(count, count - len(times), times))} for name, times in took.items()]


def fetch(route: Route, secret: str) -> float | None:
    """Fetch the small reply on a new connection; returns the seconds with connecting, None for an error."""
    begun = time.perf_counter()
    try:
        with closing(_connection(route)) as connection:
            connection.request("GET", "/small", headers={HEADER: secret})
            response = connection.getresponse()
            response.read()
            seconds = time.perf_counter() - begun
            return seconds if response.status == HTTPStatus.OK else None
    except (OSError, HTTPException):
        return None


def _connection(route: Route) -> HTTPConnection:
    if route.context is None:
        return HTTPConnection(LOOPBACK, route.port, timeout=TIMEOUT)
    return HTTPSConnection(LOOPBACK, route.port, timeout=TIMEOUT, context=route.context)

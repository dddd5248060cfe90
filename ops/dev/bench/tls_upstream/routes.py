"""Relays to the TLS upstream, and gateways behind them."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from ops.dev.bench.nginx import tls_proxy
from ops.dev.bench.targets import TargetFactory, program
from ops.dev.bench.tls_upstream.endpoint import HOST, TlsEndpoint
from ops.processes.ports import LOOPBACK, free_port


@dataclass(frozen=True)
class Route:
    """A way to the upstream: directly with TLS (`context`), or through a gateway that a client reaches without TLS."""

    target: str
    port: int
    context: ssl.SSLContext | None = None


def start(make: TargetFactory, tls: TlsEndpoint, delays: Sequence[int]) -> dict[int, list[Route]]:
    """Start a relay and the gateways for each one-way delay in ms; returns the routes by delay."""
    relays = {delay: _relay(make, tls, delay) for delay in delays}
    proxies = _nginx(make, tls, relays)
    context = tls.client_context()
    return {
        delay: [
            Route("upstream alone", relay, context),
            *proxies.get(delay, ()),
            *_gateways(make, tls, relay),
        ]
        for delay, relay in relays.items()
    }


def _relay(make: TargetFactory, tls: TlsEndpoint, delay: int) -> int:
    port = free_port()
    command = ["--port", str(port), "--upstream", str(tls.port), "--delay-ms", str(delay)]
    make.start(make.python(f"relay-{delay}", "ops.dev.bench.tls_upstream.relay", *command, port=port))
    return port


def _nginx(make: TargetFactory, tls: TlsEndpoint, relays: dict[int, int]) -> dict[int, list[Route]]:
    """Start one nginx for all delays, if it is installed."""
    found = program("nginx")
    if found is None or not relays:
        return {}
    ports = {delay: free_port() for delay in relays}
    upstreams = {ports[delay]: relay for delay, relay in relays.items()}
    written = tls_proxy.write(make.private_folder("tls-nginx"), upstreams, host=HOST, certificate=tls.certificate)
    make.nginx(found, written, next(iter(upstreams)))
    return {delay: [Route("nginx", port)] for delay, port in ports.items()}


def _gateways(make: TargetFactory, tls: TlsEndpoint, relay: int) -> list[Route]:
    """Start mitmdump and a worker of ours."""
    settings = {
        "ZENZEFI_UPSTREAM__URL": f"https://{HOST}:{relay}",
        "ZENZEFI_UPSTREAM__ADDRESSES": f'["{LOOPBACK}:{relay}"]',
        "ZENZEFI_UPSTREAM__CA_FILE": str(tls.certificate),
    }
    mitmdump = make.mitmdump(f"https://{LOOPBACK}:{relay}", f"ssl_verify_upstream_trusted_ca={tls.certificate}")
    return [Route("mitmdump", mitmdump.port), Route("zenzefi", make.gateway(1, settings)[0])]

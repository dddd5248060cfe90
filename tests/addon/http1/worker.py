"""A worker process for tests: the layer with a policy that accepts one token.

Started with one JSON argument: {"upstream": [host, port], "limits": {...}, "tls": {...}}. It prints its port.
"""

import asyncio
import json
import signal
import sys
from ipaddress import ip_network
from pathlib import Path

import uvloop
from mitmproxy import http

from addon.http1.connection.context import WorkerContext
from addon.http1.decisions import Admit, Decision, Defer, Local, Peer, Refuse
from addon.http1.exchange import Exchange
from addon.http1.limits import Limits
from addon.http1.messages.forwarding import Rules
from addon.http1.messages.heads import RequestHead
from addon.http1.policy_interface import Question
from addon.http1.upstream import Upstream
from addon.http1.upstream_pool.dialing import dial
from addon.http1.upstream_pool.limits import PoolLimits
from addon.http1.upstream_pool.pool import UpstreamPool
from addon.http1.upstream_pool.tls import UpstreamTls
from addon.process.listening_sockets import listening_socket
from addon.process.server import Gateway, Tls

REVOKED = Refuse(401, "token_revoked", "The access token was revoked.")


class TokenPolicy:
    """Admits the token `good`, answers a few local paths and records the counted bytes."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.worker_context: WorkerContext | None = None
        self.counted = [0, 0]
        self.open = 0
        self.codes: list[str] = []

    def admit(self, request: RequestHead, peer: Peer, exchange: Exchange) -> Decision | Defer:
        if request.raw_path == b"/_zenzefi/cut":
            assert self.worker_context is not None
            return Local(200, json.dumps(self.worker_context.registry.abort("good", REVOKED)).encode())
        if request.raw_path == b"/_zenzefi/counted":
            observers = len(self.worker_context.observers) if self.worker_context else 0
            return Local(200, json.dumps([*self.counted, self.open, self.codes, observers]).encode())
        if request.raw_path == b"/_zenzefi/slow":
            return Defer()
        if request.raw_path == b"/_zenzefi/seen":
            return Local(200, json.dumps(WATCHER.seen).encode())
        if request.headers.get(b"x-access-token") != b"good":
            return Refuse(401, "token_missing", "An access token is needed.", [("WWW-Authenticate", "Bearer")])
        return Admit(self.upstream, "good", "user", needs_activation=request.headers.get(b"x-first") is not None)

    async def admit_slow(self, question: Question) -> Decision:
        await asyncio.sleep(0.05)
        return Local(200, b'"slow"')

    async def activate(self, exchange: Exchange) -> Refuse | None:
        await asyncio.sleep(0.05)
        assert exchange.request is not None
        if exchange.request.headers.get(b"x-first") == b"no":
            return Refuse(409, "device_conflict", "Another device holds the session.")
        return None

    def on_open(self, exchange: Exchange) -> None:
        self.open += 1

    def on_bytes(self, exchange: Exchange, received: int, sent: int) -> None:
        self.counted[0] += received
        self.counted[1] += sent

    def on_close(self, exchange: Exchange) -> None:
        if exchange.admission is not None:
            self.open -= 1
        if exchange.code:
            self.codes.append(exchange.code)


class Watcher:
    """Another addon, which records flows and tries to change them."""

    def __init__(self) -> None:
        self.seen: list[list[object]] = []

    def request(self, flow: http.HTTPFlow) -> None:
        flow.request.headers["X-Changed"] = "1"

    def response(self, flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        flow.response.status_code += 1
        request = flow.request
        outcome = [
            request.path,
            dict(request.headers),
            request.text,
            flow.response.status_code,
            flow.response.text,
        ]
        self.seen.append(outcome)


WATCHER = Watcher()


async def main(settings: dict[str, object]) -> None:
    host, port = settings["upstream"]
    tls = settings.get("tls", {})
    upstream = Upstream(
        ((host, port),),
        f"{host}:{port}".encode(),
        tls=bool(tls.get("ca")),
        sni=tls.get("sni"),
        dead_seconds=1,
    )
    policy = TokenPolicy(upstream)
    worker_context = policy.worker_context = WorkerContext(
        policy,
        Limits(**settings.get("limits", {})),
        Rules(trusted_proxies=(ip_network("127.0.0.0/8"),)),
        pool=UpstreamPool(
            dial,
            PoolLimits(**settings.get("pool", {})),
            tls=UpstreamTls(Path(tls["ca"]) if "ca" in tls else None),
        ),
    )
    listener = listening_socket("127.0.0.1", 0)
    gateway = Gateway(
        worker_context,
        listener,
        tls=Tls(Path(tls["confdir"]), Path(tls["certificate"])) if "certificate" in tls else None,
        extra_addons=(WATCHER,) if settings.get("watch") else (),
        proxy_protocol=bool(settings.get("proxy_protocol")),
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, gateway.reload_tls)
    await gateway.start()
    print(listener.getsockname()[1], flush=True)
    await stop.wait()
    clean = await gateway.drain(5)
    await gateway.stop()
    sys.exit(0 if clean else 3)


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))

"""A proxy worker without admission policy, to measure the HTTP layer alone."""

import argparse
import asyncio

import uvloop

from addon.http1.connection.context import WorkerContext
from addon.http1.policy_interface import OpenPolicy
from addon.http1.upstream import Upstream
from addon.process.listening_sockets import listening_socket
from addon.process.server import Gateway
from ops.processes.ports import LOOPBACK


async def _serve(port: int, upstream: int) -> None:
    policy = OpenPolicy(Upstream(((LOOPBACK, upstream),), f"{LOOPBACK}:{upstream}".encode()))
    gateway = Gateway(WorkerContext(policy), listening_socket(LOOPBACK, port))
    await gateway.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(_serve(options.port, options.upstream))

"""Networks of the instances: loopback ports, or a network namespace for each, joined by a bridge.

Bridge, nginx, upstream and clients are in one more namespace, so the host's network is not touched. Namespaces need
root.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ops.console import Failure
from ops.processes.ports import LOOPBACK, free_port

NETWORK = "10.77.0"


@dataclass(frozen=True)
class Endpoint:
    """An address for a process, and the command prefix that runs it there."""

    address: str
    port: int
    prefix: Sequence[str] = ()


@dataclass(frozen=True)
class Endpoints:
    """The endpoints of nginx, of the upstream, and of the instances by name."""

    edge: Endpoint
    upstream: Endpoint
    machines: dict[str, Endpoint]


@contextlib.contextmanager
def on_loopback(names: Sequence[str]) -> Iterator[Endpoints]:
    """Yield endpoints on loopback ports."""
    yield Endpoints(
        Endpoint(LOOPBACK, free_port()),
        Endpoint(LOOPBACK, free_port()),
        {name: Endpoint(LOOPBACK, free_port()) for name in names},
    )


@contextlib.contextmanager
def in_namespaces(names: Sequence[str]) -> Iterator[Endpoints]:
    """Yield endpoints in network namespaces on a common bridge; they are deleted afterwards."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise Failure("Network namespaces need root, and `ip` of the package iproute2.")
    mark = f"zf{os.getpid()}"
    made: list[str] = []

    def space(name: str) -> str:
        made.append(f"{mark}-{name}")
        _ip("netns", "add", made[-1])
        _ip("-n", made[-1], "link", "set", "lo", "up")
        return made[-1]

    try:
        hub = space("edge")
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "address", "add", f"{NETWORK}.1/24", "dev", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        inside = _in(hub)
        machines = {}
        for number, name in enumerate(names):
            own, port = space(name), f"port{number}"
            _ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", own)
            _ip("-n", hub, "link", "set", port, "master", "bridge", "up")
            _ip("-n", own, "address", "add", f"{NETWORK}.{10 + number}/24", "dev", "eth0")
            _ip("-n", own, "link", "set", "eth0", "up")
            machines[name] = Endpoint(f"{NETWORK}.{10 + number}", 8000, _in(own))
        yield Endpoints(Endpoint(f"{NETWORK}.1", 8443, inside), Endpoint(f"{NETWORK}.1", 9000, inside), machines)
    finally:
        for name in reversed(made):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _in(name: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", name)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

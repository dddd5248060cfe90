"""Processes of a rolling deploy: portals, proxies, upstream and nginx, which can be restarted and killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ops.bootstrap import REPOSITORY
from ops.dev.nginx_edge import Edge
from ops.dev.rolling_deploy.networks import Endpoint, Endpoints
from ops.launcher import readiness
from ops.launcher.part_commands import PARTS
from ops.processes.child import Child

NAMES = ("portal-a", "portal-b", "proxy-a", "proxy-b")
PORTAL_HOST, PROXY_HOST = "portal.example.com", "proxy.example.com"
DRAIN_SECONDS = 30


class Instances:
    """All processes by name; `start` starts them."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], places: Endpoints, *, kept_seconds: int, failed_seconds: int
    ) -> None:
        self.places = places
        self._folder = folder
        self._environment = {
            **environment,
            "ZENZEFI_PLATFORM__MACHINES": "2",
            "ZENZEFI_LIMITS__API_PER_MINUTE": "1000000",
            "ZENZEFI_UPSTREAM__URL": f"http://{places.upstream.address}:{places.upstream.port}",
            "ZENZEFI_PORTAL__TRUSTED_PROXIES": "1",
            "ZENZEFI_PROXY__TRUSTED_PROXIES": f'["{places.edge.address}/32"]',
            "ZENZEFI_PROXY__DRAIN_SECONDS": str(DRAIN_SECONDS),
            "ZENZEFI_PROXY__DRAIN_IDLE_SECONDS": str(kept_seconds + 1),
            "ZENZEFI_PORTAL__PUBLIC_URL": f"https://{PORTAL_HOST}",
            "ZENZEFI_PROXY__PUBLIC_URL": f"https://{PROXY_HOST}",
        }
        self._edge = Edge(
            folder / "edge",
            [_address(places.machines[name]) for name in NAMES if name.startswith("portal")],
            [_address(places.machines[name]) for name in NAMES if name.startswith("proxy")],
            plain=f"{places.edge.address}:{places.edge.port + 1}",
            tls=_address(places.edge),
            portal_host=PORTAL_HOST,
            proxy_host=PROXY_HOST,
            kept_seconds=kept_seconds,
            failed_seconds=failed_seconds,
        )
        self.children = {"upstream": self._upstream(), **{name: self.machine(name) for name in NAMES}}
        self.children["edge"] = self._nginx()

    def start(self) -> None:
        """Start all processes and wait until they are ready."""
        for child in self.children.values():
            child.spawn()
        for child in self.children.values():
            child.wait_ready(120)

    def stop(self) -> None:
        """Stop all processes."""
        for child in reversed(self.children.values()):
            child.request_stop()
        for child in reversed(self.children.values()):
            child.stop()

    def roll(self, *names: str) -> float:
        """Stop instances by SIGTERM and start new ones; returns the seconds until the slowest had exited."""
        begun = time.monotonic()
        for name in names:
            self.children[name].request_stop()
        for name in names:
            self.children[name].stop()
        gone = time.monotonic() - begun
        self.start_again(*names)
        return gone

    def kill(self, *names: str) -> None:
        """Kill all processes of instances at once, like a power cut."""
        for pid in [pid for name in names for pid in _process_tree(self.children[name].pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for name in names:
            self.children[name].kill()

    def start_again(self, *names: str) -> None:
        """Start instances again and wait until they are ready."""
        for name in names:
            self.children[name] = self.machine(name)
            self.children[name].spawn()
        for name in names:
            self.children[name].wait_ready(120)

    def machine(self, name: str) -> Child:
        """Return a portal or a proxy, not started."""
        part, place = name.partition("-")[0], self.places.machines[name]
        own = {f"ZENZEFI_{part.upper()}__HOST": place.address, f"ZENZEFI_{part.upper()}__PORT": str(place.port)}
        if part == "portal":
            own["PROMETHEUS_MULTIPROC_DIR"] = str(self._folder / f"{name}-metrics")
            return self._child(name, place, list(PARTS[part]), self._answers(place, "/health"), own)
        file = self._folder / f"{name}.json"
        own["ZENZEFI_WORKERS_FILE"] = str(file)
        return self._child(name, place, list(PARTS[part]), lambda pid: bool(readiness.proxy_workers(file, pid)), own)

    def _upstream(self) -> Child:
        place = self.places.upstream
        command = ["ops.servers.sample_upstream", "--host", place.address, "--port", str(place.port)]
        return self._child("upstream", place, command, self._answers(place, "/"), {})

    def _nginx(self) -> Child:
        place = self.places.edge
        plain = Endpoint(place.address, place.port + 1)
        child = self._child("edge", place, [], self._answers(plain, "/", expected="308"), {})
        child.command = self._edge.command()
        child.stop_signal = signal.SIGQUIT
        return child

    def _answers(self, place: Endpoint, path: str, expected: str = "200") -> Callable[[int], bool]:
        """Return a readiness check that runs in nginx's network."""
        ask = [*self.places.edge.prefix, "curl", "-s", "-o", "/dev/null", "-m", "2", "-w", "%{http_code}"]
        ask += ["-H", f"Host: {PORTAL_HOST}", f"http://{_address(place)}{path}"]
        return lambda _: subprocess.run(ask, capture_output=True, text=True, check=False).stdout == expected

    def _child(
        self, name: str, place: Endpoint, command: list[str], is_ready: Callable[[int], bool], own: Mapping[str, str]
    ) -> Child:
        return Child(
            name=name,
            command=[sys.executable, "-P", "-m", *command],
            log=self._folder / f"{name}.log",
            environment={**self._environment, **own},
            ready=is_ready,
            stop_seconds=DRAIN_SECONDS + 20,
            prefix=place.prefix,
            working_folder=REPOSITORY,
        )


def _address(place: Endpoint) -> str:
    return f"{place.address}:{place.port}"


def _process_tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for parent in found:
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found

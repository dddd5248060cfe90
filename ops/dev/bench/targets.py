"""Targets of the proxy benchmark and their processes."""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.bootstrap import REPOSITORY
from ops.dev.bench.memory import process_tree
from ops.dev.bench.nginx import upstream as nginx_upstream
from ops.launcher import readiness
from ops.processes.child import Child
from ops.processes.ports import LOOPBACK, free_port

BESIDE_PYTHON = Path(sys.executable).parent


@dataclass(frozen=True)
class Target:
    """A server under test; `pids` are the processes whose memory is measured."""

    name: str
    workers: int
    port: int
    pids: Callable[[], list[int]]
    tokens: Path  # a file with one access token a line
    is_compared: bool = True  # also measured with large transfers


def program(name: str) -> str | None:
    """Return the path of a program; servers are often in sbin."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")


@dataclass(frozen=True)
class TargetFactory:
    """Creates targets and starts their processes; `start` stops them at the end of the run."""

    folder: Path
    environment: Mapping[str, str]
    start: Callable[[Child], None]
    tokens: Path
    demo: Path

    def upstream(self, size: int) -> Target:
        """Return the upstream: nginx if installed, otherwise a small asyncio server."""
        sink, port, found = free_port(), free_port(), program("nginx")
        own = self._python("upstream", "ops.dev.bench.upstream", "--port", str(sink), "--bytes", str(size), port=sink)
        self.start(own)
        if found is None:
            return Target("upstream alone (asyncio)", 1, sink, lambda: [own.pid], self.tokens)
        big = self.folder / "big"
        with big.open("wb") as file:
            file.truncate(size)
        home = self.folder / "upstream-nginx"
        home.mkdir()
        written = nginx_upstream.write(home, port, sink, big)
        child = self._child("upstream-nginx", [found, "-e", str(home / "error.log"), "-c", str(written)], port)
        self.start(child)
        return Target("upstream alone (nginx)", 1, port, lambda: process_tree(child.pid), self.tokens)

    def mitmdump(self, upstream: int) -> Target:
        """Return stock mitmproxy in reverse mode, without log, streaming large bodies."""
        port = free_port()
        command = [str(BESIDE_PYTHON / "mitmdump"), "--mode", f"reverse:http://{LOOPBACK}:{upstream}", "--quiet"]
        command += ["--listen-host", LOOPBACK, "--listen-port", str(port)]
        command += ["--set", "stream_large_bodies=1m", "--set", f"confdir={self.folder / 'mitmproxy'}"]
        child = self._child("mitmdump", command, port)
        self.start(child)
        return Target("mitmdump", 1, port, lambda: [child.pid], self.tokens)

    def layer(self, upstream: int, workers: int) -> Target:
        """Return the platform's HTTP layer without admission policy."""
        port = free_port()
        children = [
            self._python(
                f"layer-{workers}-{number}", "ops.dev.bench.bare_worker",
                "--port", str(port), "--upstream", str(upstream),
                port=port,
            )
            for number in range(workers)
        ]  # fmt: skip
        for child in children:
            self.start(child)
        return Target("layer without policy", workers, port, lambda: [child.pid for child in children], self.tokens)

    def zenzefi(self, upstream: int, workers: int) -> list[Target]:
        """Return the proxy with its supervisor, twice: for all tokens and for the demo token alone."""
        port, file = free_port(), self.folder / f"workers-{workers}.json"
        more = {
            "ZENZEFI_UPSTREAM__URL": f"http://{LOOPBACK}:{upstream}",
            "ZENZEFI_PROXY__PORT": str(port),
            "ZENZEFI_PROXY__WORKERS": str(workers),
            # All load comes from one address here.
            "ZENZEFI_PROXY__CONNECTIONS_PER_ADDRESS": "0",
            "ZENZEFI_PROXY__ACCESS_LOG": str(self.folder / f"access-{workers}.log"),
            "ZENZEFI_WORKERS_FILE": str(file),
        }
        child = self._python(f"zenzefi-{workers}", "addon.supervisor", port=port, more=more)
        child.ready = lambda pid: bool(readiness.proxy_workers(file, pid))
        self.start(child)

        def pids() -> list[int]:
            return readiness.proxy_workers(file, child.pid)

        return [
            Target("zenzefi, 64 tokens", workers, port, pids, self.tokens),
            Target("zenzefi, demo token", workers, port, pids, self.demo, is_compared=False),
        ]

    def _python(self, name: str, *command: str, port: int, more: Mapping[str, str] | None = None) -> Child:
        return self._child(name, [sys.executable, "-P", "-m", *command], port, more)

    def _child(self, name: str, command: list[str], port: int, more: Mapping[str, str] | None = None) -> Child:
        return Child(
            name=name,
            command=command,
            log=self.folder / f"{name}.log",
            environment={**self.environment, **(more or {})},
            ready=lambda _: readiness.listens(LOOPBACK, port),
            working_folder=REPOSITORY,
        )

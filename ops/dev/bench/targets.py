"""Targets of the proxy benchmark and their processes."""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.bootstrap import REPOSITORY
from ops.dev.bench.memory import process_tree
from ops.dev.bench.nginx import configuration, lua
from ops.dev.bench.nginx import upstream as nginx_upstream
from ops.dev.bench.tls_upstream.endpoint import TlsEndpoint
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

    def upstream(self, size: int, tls: TlsEndpoint | None = None) -> Target:
        """Return the upstream, if wanted also with TLS: nginx if installed, otherwise a small asyncio server."""
        sink, port, found = free_port(), free_port(), program("nginx")
        command = ["ops.dev.bench.upstream", "--port", str(sink), "--bytes", str(size)]
        if tls is not None and found is None:
            command += ["--tls-port", str(tls.port), "--certificate", str(tls.certificate), "--key", str(tls.key)]
        own = self.python("upstream", *command, port=sink)
        self.start(own)
        if found is None:
            return Target("upstream alone (asyncio)", 1, sink, lambda: [own.pid], self.tokens)
        big = self.folder / "big"
        with big.open("wb") as file:
            file.truncate(size)
        home = self.private_folder("upstream-nginx")
        child = self.nginx(found, nginx_upstream.write(home, port, sink, big, tls), port)
        return Target("upstream alone (nginx)", 1, port, lambda: process_tree(child.pid), self.tokens)

    def mitmdump(self, upstream: str, *options: str) -> Target:
        """Return stock mitmproxy in reverse mode, without log, streaming large bodies."""
        port = free_port()
        command = [str(BESIDE_PYTHON / "mitmdump"), "--mode", f"reverse:{upstream}", "--quiet"]
        command += ["--listen-host", LOOPBACK, "--listen-port", str(port)]
        for option in ("stream_large_bodies=1m", f"confdir={self.folder / 'mitmproxy'}", *options):
            command += ["--set", option]
        child = self.child(f"mitmdump-{port}", command, port)
        self.start(child)
        return Target("mitmdump", 1, port, lambda: [child.pid], self.tokens)

    def nginx_lua(self, upstream: int) -> Target | None:
        """Return nginx with a token check in Lua; None when nginx or a part of it is not installed."""
        found = program("nginx")
        if found is None or lua.missing(found):
            return None
        lua.store_tokens(self.environment["REDIS_URL"], self.tokens.read_text(encoding="utf-8").split())
        port, home = free_port(), self.private_folder("lua-nginx")
        child = self.nginx(found, lua.write(home, port, upstream, self.environment["REDIS_URL"]), port)
        return Target(lua.NAME, 1, port, lambda: process_tree(child.pid), self.tokens, is_compared=False)

    def layer(self, upstream: int, workers: int) -> Target:
        """Return the platform's HTTP layer without admission policy."""
        port = free_port()
        children = [
            self.python(
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
        port, pids = self.gateway(workers, {"ZENZEFI_UPSTREAM__URL": f"http://{LOOPBACK}:{upstream}"})
        return [
            Target("zenzefi, 64 tokens", workers, port, pids, self.tokens),
            Target("zenzefi, demo token", workers, port, pids, self.demo, is_compared=False),
        ]

    def gateway(self, workers: int, settings: Mapping[str, str]) -> tuple[int, Callable[[], list[int]]]:
        """Start the proxy with its supervisor; returns its port, and a function that returns its workers' ids."""
        port = free_port()
        file = self.folder / f"workers-{port}.json"
        more = {
            **settings,
            "ZENZEFI_PROXY__PORT": str(port),
            "ZENZEFI_PROXY__WORKERS": str(workers),
            # All load comes from one address here.
            "ZENZEFI_PROXY__CONNECTIONS_PER_ADDRESS": "0",
            "ZENZEFI_PROXY__ACCESS_LOG": str(self.folder / f"access-{port}.log"),
            "ZENZEFI_WORKERS_FILE": str(file),
        }
        child = self.python(f"zenzefi-{port}", "addon.supervisor", port=port, more=more)
        child.ready = lambda pid: bool(readiness.proxy_workers(file, pid))
        self.start(child)

        return port, lambda: readiness.proxy_workers(file, child.pid)

    def nginx(self, executable: str, written: Path, port: int) -> Child:
        """Start nginx with a configuration that is in a folder of its own."""
        child = self.child(written.parent.name, configuration.command(executable, written), port)
        self.start(child)
        return child

    def python(self, name: str, *command: str, port: int, more: Mapping[str, str] | None = None) -> Child:
        """Return a process that runs a module and listens on a port; it is not started."""
        return self.child(name, [sys.executable, "-P", "-m", *command], port, more)

    def child(self, name: str, command: list[str], port: int, more: Mapping[str, str] | None = None) -> Child:
        """Return a process that listens on a port; it is not started."""
        return Child(
            name=name,
            command=command,
            log=self.folder / f"{name}.log",
            environment={**self.environment, **(more or {})},
            ready=lambda _: readiness.listens(LOOPBACK, port),
            working_folder=REPOSITORY,
        )

    def private_folder(self, name: str) -> Path:
        """Create a folder for one process's files; configurations may contain passwords."""
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        return folder

"""Servers and processes of a benchmark run, in a temporary folder that is removed afterwards."""

import contextlib
import os
import resource
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from models import database
from ops.bootstrap import child_environment
from ops.console import Failure, Step
from ops.dev import sample_buyers
from ops.dev.bench.sizes import Sizes
from ops.dev.bench.targets import Target, TargetFactory
from ops.dev.bench.tls_upstream.endpoint import TlsEndpoint
from ops.launcher.installation import SECRETS
from ops.processes import stale
from ops.processes.child import MARK, Child
from ops.processes.ports import LOOPBACK
from ops.processes.secret_files import random_key
from ops.servers import PostgresServer, RedisServer

TOKENS = 64
START_SECONDS = 60.0
LOG_LINES = 12
# Settings in the caller's environment belong to a real installation and must not affect the benchmark.
FOREIGN = ("ZENZEFI_", "DATABASE_URL", "REDIS_URL", "PG")
UNLIMITED = "1000000000"


@dataclass(frozen=True)
class Servers:
    """A folder with a private PostgreSQL and Redis, and the processes started in it."""

    folder: Path
    environment: dict[str, str]
    postgres: PostgresServer
    children: list[Child]

    def start(self, child: Child) -> None:
        """Start a process that is stopped with the run."""
        self.children.append(child)
        child.spawn()

    def wait_ready(self) -> None:
        """Wait until all processes are ready."""
        for child in self.children:
            wait(child)


@dataclass(frozen=True)
class Environment:
    """The running targets, the upstream first, and what more of them are made with."""

    targets: list[Target]
    servers: Servers
    make: TargetFactory
    tls: TlsEndpoint  # of the upstream
    spares: list[str]  # access tokens that may be revoked


@contextlib.contextmanager
def start_environment(sizes: Sizes) -> Iterator[Environment]:
    """Start servers, upstream and targets; all are stopped afterwards."""
    with start_servers() as servers:
        yield _start_targets(servers, sizes)


@contextlib.contextmanager
def start_servers() -> Iterator[Servers]:
    """Start the servers; they and all processes started with them are stopped afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    children: list[Child] = []
    try:
        with tempfile.TemporaryDirectory(prefix="zenzefi-bench-", ignore_cleanup_errors=True) as name:
            folder = Path(name).resolve()
            folder.chmod(0o711)  # the users that PostgreSQL and nginx run as for root must be able to pass through
            postgres = PostgresServer(folder / "postgres", mark=str(folder))
            redis = RedisServer(folder / "redis", mark=str(folder))
            try:
                with Step("PostgreSQL and Redis"):
                    postgres.start()
                    redis.start()
                yield Servers(folder, _environment(folder, postgres.url, redis.url), postgres, children)
            finally:
                for child in reversed(children):
                    child.request_stop()
                for child in reversed(children):
                    child.stop()
                own = {*stale.with_working_folder(postgres.data), *stale.with_working_folder(redis.folder)}
                stale.end({*stale.with_mark(str(folder))} - own, signal.SIGTERM, 5)
                redis.stop()
                postgres.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _environment(folder: Path, database: str, redis: str) -> dict[str, str]:
    inherited = {name: value for name, value in child_environment().items() if not name.startswith(FOREIGN)}
    secrets = {f"ZENZEFI_{name}".replace(".", "__").upper(): make() for name, make in SECRETS.items()}
    return {
        **inherited,
        **secrets,
        "DATABASE_URL": database,
        "REDIS_URL": redis,
        # Limits that are never reached but still counted.
        "ZENZEFI_LIMITS__PROXY_PER_MINUTE": UNLIMITED,
        "ZENZEFI_LIMITS__PROXY_AT_ONCE": UNLIMITED,
        "ZENZEFI_PROXY__DRAIN_SECONDS": "2",
        MARK: str(folder),
    }


def _start_targets(servers: Servers, sizes: Sizes) -> Environment:
    folder, environment = servers.folder, servers.environment
    tokens, demo = folder / "tokens", folder / "demo"
    with Step("Database and tokens"):
        _write(demo, [sample_buyers.migrate(environment)])
        bought = buy_tokens(environment, TOKENS + sizes.revokes)
        _write(tokens, bought[:TOKENS])
    with Step("Upstream, gateways and workers"):
        make = TargetFactory(folder, environment, servers.start, tokens, demo)
        tls = TlsEndpoint.create(folder / "tls")
        upstream = make.upstream(sizes.transfer_bytes, tls)
        targets = [upstream, make.mitmdump(f"http://{LOOPBACK}:{upstream.port}")]
        lua_gateway = make.nginx_lua(upstream.port)
        targets += [lua_gateway] if lua_gateway else []
        for workers in (1, 2):
            targets += [make.layer(upstream.port, workers), *make.zenzefi(upstream.port, workers)]
        servers.wait_ready()
    return Environment(targets, servers, make, tls, bought[TOKENS:])


def buy_tokens(environment: Mapping[str, str], count: int) -> list[str]:
    """Register a buyer and return the secrets of that many access tokens."""
    with sample_buyers.connected(environment) as (settings, engine), database.sessions(engine).begin() as session:
        return sample_buyers.create(session, settings, "buyer", password=random_key(), tokens=count).secrets


def wait(child: Child) -> None:
    """Wait until a process is ready; a Failure includes the end of its log, which is removed with the folder."""
    try:
        child.wait_ready(START_SECONDS)
    except Failure as failure:
        lines = child.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        raise Failure("\n".join([str(failure), *lines])) from None


def _write(file: Path, lines: list[str]) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as output:
        output.writelines(f"{line}\n" for line in lines)

"""Run all measurements of the shop on a seeded database, and print their table."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from models import database
from ops.bootstrap import REPOSITORY
from ops.console import Failure, Step
from ops.dev import sample_buyers
from ops.dev.bench.environment import Servers, start_servers, wait
from ops.dev.bench.money import measure
from ops.dev.bench.report import table
from ops.dev.bench.targets import program
from ops.dev.seed.__main__ import seed
from ops.dev.seed.sizes import Sizes as SeedSizes
from ops.launcher import readiness
from ops.processes.child import Child
from ops.processes.ports import LOOPBACK, free_port

USERS = 1000


@dataclass(frozen=True)
class Sizes:
    """Transfers in the seeded ledger, and seconds of each measurement."""

    transfers: int
    seconds: int


FULL, QUICK = Sizes(1_000_000, 10), Sizes(100_000, 4)


def run(sizes: Sizes) -> dict[str, Any]:
    """Start servers, seed a shop, measure, and stop everything; returns the figures. Raises Failure without wrk."""
    tool = program("wrk")
    if tool is None:
        raise Failure("wrk is not installed (apt install wrk).")
    with start_servers() as servers:
        port = free_port()
        servers.environment["ZENZEFI_PORTAL__PORT"] = str(port)
        servers.environment["ZENZEFI_LIMITS__API_PER_MINUTE"] = "1000000000"
        with Step("Migrating"):
            sample_buyers.migrate(servers.environment)
        with sample_buyers.connected(servers.environment) as (settings, engine):
            seed(engine, settings, SeedSizes.of(USERS, sizes.transfers // 2, sizes.transfers))
            factory = database.sessions(engine)
            with Step("Ledger verification"):
                results: dict[str, Any] = {"verify": measure.verify(factory, servers.postgres.child.pid)}
            _start_portal(servers, port)
            loads = measure.Loads(tool, f"http://{LOOPBACK}:{port}", servers.folder, sizes.seconds)
            for wallets in (1, USERS):
                with Step(f"API on {wallets:,} wallet(s)"):
                    for name, load in loads.api(factory, settings, wallets).items():
                        results[name] = asdict(load)
            with Step("Payment callbacks"):
                results["payment callbacks"] = asdict(loads.callbacks(factory, settings))
    return results


def text(results: Mapping[str, Any]) -> str:
    """Return the results as tables."""
    head = [f"{measure.CLIENTS} clients", "per second", "p50 ms", "p95 ms", "p99 ms", "errors"]
    lines = [
        [name, f"{row['per_second']:,.0f}", *(f"{row[key]:.1f}" for key in ("p50", "p95", "p99")), str(row["errors"])]
        for name, row in results.items()
        if "per_second" in row
    ]
    verified = ["ledger verify", "seconds", "own memory, MiB", "server's, MiB", "spilled to disk, MiB"]
    row = results["verify"]
    figures = (f"{row[key]:,.1f}" for key in ("seconds", "own_mib", "server_mib", "spilled_mib"))
    return (
        "\n".join([*table(head, lines), "", *table(verified, [[f"{row['transfers']:,} transfers", *figures]])]) + "\n"
    )


def _start_portal(servers: Servers, port: int) -> None:
    gunicorn = ["gunicorn", "-c", str(REPOSITORY / "ops/container/gunicorn.conf.py"), "portal:create_app()"]
    child = Child(
        name="portal",
        command=[sys.executable, "-P", "-m", *gunicorn],
        log=servers.folder / "portal.log",
        environment=servers.environment,
        ready=lambda _: readiness.responds_ok(LOOPBACK, port, "/health"),
        working_folder=REPOSITORY,
    )
    servers.start(child)
    wait(child)

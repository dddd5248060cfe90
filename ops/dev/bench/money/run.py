"""One run of all measurements of money, and its table."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models import database
from models.config import settings as config
from ops.bootstrap import REPOSITORY
from ops.console import Step
from ops.dev.bench import sample_tokens
from ops.dev.bench.environment import Ground, start_servers, wait
from ops.dev.bench.money import history, measure
from ops.dev.bench.report import table
from ops.launcher import readiness
from ops.processes.child import Child
from ops.processes.ports import LOOPBACK, free_port


@dataclass(frozen=True)
class Sizes:
    """How long the history is, and how many seconds each measurement lasts."""

    transfers: int
    seconds: float


FULL, QUICK = Sizes(1_000_000, 10), Sizes(100_000, 4)


def run(sizes: Sizes) -> dict[str, Any]:
    """Start servers and a shop with a long history, measure, and stop all of it; returns the figures."""
    with start_servers() as under:
        port = free_port()
        under.environment["ZENZEFI_PORTAL__PORT"] = str(port)
        with Step("Database"):
            sample_tokens.prepare(under.environment)
        settings = config.load_settings(under.environment)
        engine = database.connect(settings.database)
        factory = database.sessions(engine)
        try:
            with Step(f"A history of {sizes.transfers:,} transfers"), factory.begin() as session:
                history.write(session, sizes.transfers)
            with Step("Proving the books"):
                results: dict[str, Any] = {"verify": measure.verify(factory, under.postgres.child.pid)}
            with Step("Purchases"):
                results["purchases"] = [
                    measure.purchases(under.environment, wallets, sizes.seconds) for wallets in (1, history.WALLETS)
                ]
            with Step("Callbacks"):
                gunicorn = ["gunicorn", "-c", str(REPOSITORY / "ops/container/gunicorn.conf.py"), "portal:create_app()"]
                _start(under, "portal", gunicorn, port)
                results["callbacks"] = measure.callbacks(factory, settings, port, sizes.seconds)
        finally:
            engine.dispose()
    return results


def text(results: Mapping[str, Any]) -> str:
    """Return a table for people."""
    head = ["16 clients", "per second", "p50 ms", "p95 ms", "highest ms"]
    lines = [
        [name, f"{row['per_second']:,.0f}", *(f"{row[key]:.1f}" for key in ("p50", "p95", "highest"))]
        for name, row in (
            *((f"purchases on {row['wallets']:,} wallet(s)", row) for row in results["purchases"]),
            ("callbacks, stored, settled and answered", results["callbacks"]),
        )
    ]
    proof = ["ledger verify", "seconds", "own memory, MiB", "server's, MiB", "spilled to disk, MiB"]
    row = results["verify"]
    figures = (f"{row[key]:,.1f}" for key in ("seconds", "own_mib", "server_mib", "spilled_mib"))
    proofs = [[f"{row['transfers']:,} transfers", *figures]]
    parts = [*table(head, lines), "", *table(proof, proofs)]
    return "\n".join(parts) + "\n"


def _start(under: Ground, name: str, command: list[str], port: int) -> None:
    child = Child(
        name=name,
        command=[sys.executable, "-P", "-m", *command],
        log=under.folder / f"{name}.log",
        environment=under.environment,
        ready=lambda _: readiness.answers(LOOPBACK, port, "/health"),
        working_folder=REPOSITORY,
    )
    under.start(child)
    wait(child)

"""`./zenzefi bench-api`: requests per second of the JSON API with 16 clients, on a portal of its own.

Each client is an admin with money, so no limit and no other's wallet holds it up; a purchase is a whole one, with
ledger, audit and token. Gunicorn serves with as many threads as `portal.threads` says, in `--processes` processes.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from models import database
from models.config import settings as config
from models.logins import LoginKind
from models.services.accounts import logins, users
from models.services.actor import PLATFORM
from models.services.ledger import adjustments
from models.services.tokens import purchase as token_purchase
from ops.bootstrap import REPOSITORY, child_environment
from ops.console import Failure, Step, print_error, print_line
from ops.dev.bench import wrk
from ops.dev.bench.sample_tokens import prepare
from ops.launcher import readiness
from ops.processes.child import Child
from ops.processes.ports import LOOPBACK, free_port
from ops.processes.secret_files import random_key
from ops.servers import PostgresServer, RedisServer
from portal.api import login_tokens

CLIENTS = 16
TOKENS_EACH = 5
SECRETS = (
    "PORTAL__SECRET_KEY",
    "TOKENS__HASH_KEY",
    "TOKENS__MAC_KEYS",
    "PAYMENTS__MOCK_SIGNING_KEY",
    "ADMIN__PASSWORD",
)
CASES = {
    "GET /currency/balance": ("GET", "/api/v1/currency/balance", ""),
    "GET /tokens/my-tokens": ("GET", "/api/v1/tokens/my-tokens", ""),
    "POST /tokens/purchase": ("POST", "/api/v1/tokens/purchase", '{"duration_hours": 1, "scope": "full"}'),
}
PATIENCE_SECONDS = 30


def main(arguments: Sequence[str]) -> int:
    """Measure each case and print a table, or JSON."""
    parser = argparse.ArgumentParser(prog="./zenzefi bench-api", description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="for each case (default 10)")
    parser.add_argument("--processes", type=int, default=1, help="gunicorn processes (default 1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    program = shutil.which("wrk")
    if program is None:
        print_error("wrk is needed: apt-get install wrk")
        return 2
    try:
        loads = _measure(program, options.seconds, options.processes)
    except Failure as failure:
        print_error(str(failure))
        return 1
    if options.json:
        print_line(json.dumps({name: asdict(load) for name, load in loads.items()}, indent=1))
        return 0
    print_line(f"  {CLIENTS} clients, {options.processes} process(es)   per second   p50 ms   p95 ms   p99 ms   errors")
    for name, load in loads.items():
        print_line(
            f"  {name:<32} {load.per_second:>10} {load.p50:>8.1f} {load.p95:>8.1f} {load.p99:>8.1f} {load.errors:>8}"
        )
    return 0


def _measure(program: str, seconds: int, processes: int) -> dict[str, wrk.Load]:
    with tempfile.TemporaryDirectory(prefix="zenzefi-bench-api-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o711)  # the user that PostgreSQL runs as for root must be able to pass through
        with (
            PostgresServer(folder / "postgres", fast=True, mark=name) as postgres,
            RedisServer(folder / "redis", fast=True, mark=name) as redis,
        ):
            port = free_port()
            environment = {
                **child_environment(),
                **{f"ZENZEFI_{key}": random_key() for key in SECRETS},
                "DATABASE_URL": postgres.url,
                "REDIS_URL": redis.url,
                "ZENZEFI_PORTAL__PORT": str(port),
                "ZENZEFI_PORTAL__PROCESSES": str(processes),
            }
            prepare(environment)
            shown = folder / "tokens"
            shown.write_text("\n".join(_clients(environment)) + "\n", encoding="utf-8")
            portal = _portal(environment, port, folder)
            try:
                return {title: _load(program, port, shown, seconds, title) for title in CASES}
            finally:
                portal.stop()


def _load(program: str, port: int, shown: Path, seconds: int, title: str) -> wrk.Load:
    url = f"http://{LOOPBACK}:{port}"
    with Step(title):
        wrk.run(program, url, shown, connections=CLIENTS, seconds=2, keep=True, more=CASES[title])
        return wrk.run(program, url, shown, connections=CLIENTS, seconds=seconds, keep=True, more=CASES[title])


def _clients(environment: Mapping[str, str]) -> list[str]:
    """Register the clients, each with money and some tokens, and return their logins' tokens."""
    settings = config.load_settings(environment)
    engine = database.connect(settings.database)
    shown = []
    try:
        for number in range(CLIENTS):
            with database.sessions(engine).begin() as session:
                client = users.register(
                    session, email=f"client{number}@example.test", username=f"client{number}", password=random_key(),
                    actor=PLATFORM, is_superuser=True,
                )  # fmt: skip
                adjustments.adjust(session, client, amount=Decimal(1_000_000), reason="benchmark", actor=PLATFORM)
                facts = {"hours": 1, "scope": "full", "name": "", "settings": settings, "actor": PLATFORM}
                for _ in range(TOKENS_EACH):
                    token_purchase.purchase(session, client, **facts)  # type: ignore[arg-type]  # a dict of mixed facts
                kind, lifetime = LoginKind.API, timedelta(hours=1)
                login = logins.begin(session, client, kind=kind, lifetime=lifetime, actor=PLATFORM)
                shown.append(login_tokens.issue(settings.portal, client, login))
    finally:
        engine.dispose()
    return shown


def _portal(environment: Mapping[str, str], port: int, folder: Path) -> Child:
    command = [sys.executable, "-P", "-m", "gunicorn", "-c", str(REPOSITORY / "ops/container/gunicorn.conf.py")]
    portal = Child(
        name="portal",
        command=[*command, "portal:create_app()"],
        log=folder / "portal.log",
        environment=environment,
        ready=readiness.serves(LOOPBACK, port, "/health"),
        working_folder=REPOSITORY,
    )
    portal.start(PATIENCE_SECONDS)
    return portal


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

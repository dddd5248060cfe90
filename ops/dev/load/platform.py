"""The platform under load, its users, and the Locust process."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import database
from models.config.settings import Settings
from ops.bootstrap import REPOSITORY, child_environment
from ops.console import Failure, Step
from ops.dev import sample_buyers
from ops.dev.bench.environment import FOREIGN, UNLIMITED
from ops.launcher.installation import settings_of
from ops.processes.child import last_line
from ops.processes.secret_files import random_key

START_SECONDS, STOP_SECONDS = 120.0, 60.0
TOKENS_EACH = 3
HIGH_LIMITS = (
    "AUTH_PER_HOUR",
    "AUTH_PER_ADDRESS",
    "REGISTRATIONS_PER_HOUR",
    "API_PER_MINUTE",
    "PROXY_PER_MINUTE",
    "PROXY_AT_ONCE",
)


@dataclass(frozen=True, slots=True)
class LocustUsage:
    """Result of the Locust process; `cpu` is its share of one core and must stay well below one."""

    exit_code: int
    seconds: float
    cpu: float
    load: float


@contextmanager
def start_platform(folder: Path, options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], Settings]]:
    """Run `up` in a folder; yields the contents of its ready file, and its settings."""
    ready_file, log = folder / "ready.json", folder / "up.log"
    inherited = {name: value for name, value in child_environment().items() if not name.startswith(FOREIGN)}
    environment = {**inherited, **{f"ZENZEFI_LIMITS__{name}": UNLIMITED for name in HIGH_LIMITS}}
    command = [
        sys.executable,
        "-P",
        "-m",
        "ops.launcher.up",
        "--data",
        str(folder / "data"),
        "--ready-file",
        str(ready_file),
    ]
    command += ["--portal-port", "0", "--proxy-port", "0", "--workers", str(options.workers)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=REPOSITORY)
    try:
        with Step("Starting a platform") as step:
            deadline = time.monotonic() + START_SECONDS
            while not ready_file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Failure(f"The platform does not start: {last_line(log)}")
                step.tick()
                time.sleep(0.1)
        yield json.loads(ready_file.read_text(encoding="utf-8")), settings_of(folder / "data", inherited)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def create_users(ready: dict[str, Any], settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """Register the buyers and return everything that Locust must know.

    Buyers revoke tokens, so the proxy's clients use the tokens of a user who does not.
    """
    engine, password = database.connect(settings.database), random_key()
    factory = database.sessions(engine)
    names = [f"load{number}" for number in range(max(options.buyers, 1))]
    try:
        for name in names:
            with factory.begin() as session:
                sample_buyers.create(session, settings, name, password=password, tokens=TOKENS_EACH)
        with factory.begin() as session:
            count = max(options.clients, 1)
            secrets = sample_buyers.create(session, settings, "clients", password=password, tokens=count).secrets
    finally:
        engine.dispose()
    return {
        "portal_url": ready["portal_url"],
        "proxy_url": ready["proxy_url"],
        "buyers": [{"email": f"{name}@example.test", "password": password} for name in names],
        "tokens": secrets,
        "buyers_at_once": options.buyers,
        "api_clients_at_once": options.api_clients,
        "clients_at_once": options.clients,
        "pages_per_second": options.pages,
        "requests_per_second": options.rate / max(options.clients, 1),
    }


def run_locust(python: str, folder: Path, facts: dict[str, Any], options: argparse.Namespace) -> LocustUsage:
    """Run Locust; returns its usage."""
    file = folder / "load.json"
    file.touch(0o600)
    file.write_text(json.dumps(facts), encoding="utf-8")
    everybody = options.buyers + options.api_clients + options.clients
    command = [python, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")), "--headless"]
    command += ["--users", str(everybody), "--spawn-rate", str(max(everybody / 3, 1)), "--reset-stats"]
    command += ["--run-time", f"{options.seconds}s", "--stop-timeout", "5", "--only-summary"]
    command += ["--html", str(options.out / "report.html"), "--csv", str(options.out / "load")]
    environment = {**os.environ, "ZENZEFI_LOAD_FILE": str(file), "PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"}
    began = time.monotonic()
    with Step("Locust"), (options.out / "locust.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
    code, seconds = os.waitstatus_to_exitcode(status), time.monotonic() - began
    if not (options.out / "load_stats.csv").exists():
        raise Failure(f"Locust failed: {last_line(options.out / 'locust.log')}")
    return LocustUsage(code, seconds, (usage.ru_utime + usage.ru_stime) / seconds, os.getloadavg()[0])

"""One run: clients under load while instances are restarted by SIGTERM, then killed."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from models import database
from models.access_tokens import AccessToken
from models.config import settings as config
from models.proxy_sessions import ProxySession
from ops.bootstrap import REPOSITORY
from ops.console import Failure, Step
from ops.dev import sample_buyers
from ops.dev.rolling_deploy.networks import Endpoints
from ops.dev.rolling_deploy.processes import PORTAL_HOST, PROXY_HOST, Instances
from ops.processes.child import kill_with_parent
from ops.processes.secret_files import random_key

NAME = "fleet"
FLUSH_SECONDS = 3.0  # usage counters are flushed once a second


@dataclass(frozen=True)
class Sizes:
    """How many clients there are, and how long they run before and after each event."""

    proxy_clients: int = 12
    buyers: int = 3
    quiet_seconds: float = 5.0
    rolls: int = 3
    kills: int = 3
    kept_seconds: int = 10  # how long nginx keeps an idle connection to a proxy
    failed_seconds: int = 2  # how long it does not retry an instance that refused; less than quiet_seconds
    proxy_pause: float = 0.0
    portal_pause: float = 0.2


SHORT = Sizes(4, 2, 1.5, 1, 1, kept_seconds=1, failed_seconds=1, proxy_pause=0.01)


def run(folder: Path, environment: Mapping[str, str], places: Endpoints, sizes: Sizes) -> dict[str, Any]:
    """Start the instances on a migrated database, measure, and stop them; returns the figures."""
    settings = config.load_settings(environment)
    engine = database.connect(settings.database)
    factory = database.sessions(engine)
    fleet = Instances(folder, environment, places, kept_seconds=sizes.kept_seconds, failed_seconds=sizes.failed_seconds)
    try:
        password = random_key()
        with factory.begin() as session:
            created = sample_buyers.create(session, settings, NAME, password=password, tokens=sizes.proxy_clients)
            user = {"email": created.user.email, "password": password, "tokens": created.secrets}
        with Step("Two portals, two proxies, nginx"):
            fleet.start()
        counted = ServerCounts(factory)
        with Step(f"{sizes.rolls} rolling restart(s)"), _clients(folder, places, sizes, user, "rolled") as rolled:
            rolled["gone_seconds"] = []
            for number in range(sizes.rolls):
                time.sleep(sizes.quiet_seconds)
                twin = "ab"[number % 2]
                rolled["gone_seconds"].append(round(fleet.roll(f"portal-{twin}", f"proxy-{twin}"), 1))
            time.sleep(sizes.quiet_seconds)
        rolled |= counted.since(rolled, "rolled")
        with Step(f"{sizes.kills} crash(es)"), _clients(folder, places, sizes, user, "killed") as killed:
            for number in range(sizes.kills):
                time.sleep(sizes.quiet_seconds)
                twin = "ba"[number % 2]
                fleet.kill(f"portal-{twin}", f"proxy-{twin}")
                time.sleep(sizes.quiet_seconds)
                fleet.start_again(f"portal-{twin}", f"proxy-{twin}")
            time.sleep(sizes.quiet_seconds)
        killed |= counted.since(killed, "killed")
        return {"rolled": rolled, "killed": killed}
    finally:
        fleet.stop()
        engine.dispose()


class ServerCounts:
    """Requests and purchases as counted by the platform."""

    def __init__(self, factory: database.Sessions) -> None:
        self._factory = factory
        self._requests = self._all_requests()

    def since(self, seen: Mapping[str, Any], name: str) -> dict[str, int]:
        """Return the platform's counts since the last call beside those of the clients."""
        time.sleep(FLUSH_SECONDS)
        before, self._requests = self._requests, self._all_requests()
        with self._factory() as session:
            bought = session.scalar(select(func.count()).select_from(AccessToken).where(AccessToken.name == name))
        answered = seen["answers"]
        return {
            "proxy_answered": answered.get("proxy GET 200", 0) + answered.get("proxy POST 200", 0),
            "proxy_counted": self._requests - before,
            "purchases_answered": answered.get("portal POST 201", 0),
            "purchases_booked": int(bought or 0),
        }

    def _all_requests(self) -> int:
        with self._factory() as session:
            return int(session.scalar(select(func.coalesce(func.sum(ProxySession.request_count), 0))) or 0)


@contextlib.contextmanager
def _clients(
    folder: Path, places: Endpoints, sizes: Sizes, user: Mapping[str, Any], name: str
) -> Iterator[dict[str, Any]]:
    """Run the clients during the block; the yielded dict has their log afterwards."""
    told = {
        "address": places.edge.address, "port": places.edge.port, "portal_host": PORTAL_HOST, "proxy_host": PROXY_HOST,
        "buyers": sizes.buyers, "name": name, "proxy_pause": sizes.proxy_pause, "portal_pause": sizes.portal_pause,
        **user,
    }  # fmt: skip
    file = folder / f"{name}.json"
    file.touch(0o600)
    file.write_text(json.dumps(told), encoding="utf-8")
    command = [
        *kill_with_parent(signal.SIGKILL),
        sys.executable,
        "-P",
        "-m",
        "ops.dev.rolling_deploy.client",
        str(file),
    ]
    process = subprocess.Popen([*places.edge.prefix, *command], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    seen: dict[str, Any] = {}
    try:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        process.stdout.readline()
        yield seen
        process.terminate()
        output, _ = process.communicate(timeout=90)
        if process.returncode != 0:
            raise Failure("The clients ended early.")
        seen |= json.loads(output)
    finally:
        process.kill()
        process.wait()

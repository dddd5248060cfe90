"""Entry point of the container: `python -m ops.container portal` runs that part of the platform.

`migrate` migrates the database and creates the first admin; `health` checks the part of this container; `gate PART`
waits until a part serves and reaches its databases; every other word is a command of `./zenzefi`: `backup`, `doctor`, …
"""

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from models.config import settings as config
from ops.bootstrap import REPOSITORY
from ops.container.placeholder_certificate import placeholder
from ops.launcher import readiness
from ops.launcher.part_commands import PARTS
from ops.launcher.process_table import reachable_address

GATE_SECONDS = 30.0
FIRST_PROCESS = Path("/proc/1/cmdline")


def main(arguments: Sequence[str]) -> int:
    """Replace this process by the part or the command; returns only for commands that run here."""
    code = run_here(arguments)
    if code is None:
        os.execv(sys.executable, [sys.executable, *command_of(arguments)])  # noqa: S606 - no shell is wanted
    return code


def run_here(arguments: Sequence[str]) -> int | None:
    """Run a command of this module and return its exit code; None for everything else."""
    match arguments:
        case []:
            print(__doc__)
            return 2
        case ["health", *named]:
            return 0 if is_healthy(named[0] if named else part_of(FIRST_PROCESS)) else 1
        case ["gate", part]:
            return 0 if wait_until_ready(part) else 1
        case ["placeholder-certificate", folder, *hosts]:
            placeholder(Path(folder), hosts)
            return 0
    return None


def command_of(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of Python for a part or command."""
    name = arguments[0]
    if name in PARTS:
        return ["-P", "-m", *PARTS[name]]
    if name == "migrate":
        return ["-P", "-m", "ops.launcher.first_run"]
    return [str(REPOSITORY / "zenzefi"), *arguments]


def part_of(cmdline: Path) -> str:
    """Return the part of the container's first process, which is the last argument of its command."""
    return cmdline.read_bytes().rstrip(b"\0").rpartition(b"\0")[2].decode()


def is_healthy(part: str) -> bool:
    """Return whether a part serves. Database, Redis or upstream do not count: a restart would not help them."""
    settings = config.load_settings()
    match part:
        case "portal":
            return readiness.responds_ok(reachable_address(settings.portal.host), settings.portal.port, "/health")
        case "proxy":
            return readiness.responds_ok(reachable_address(settings.proxy.host), settings.proxy.port, "/_zenzefi/live")
        case "worker":
            return _both_queues_have_a_worker(settings.redis.url)
        case "scheduler":
            return readiness.scheduler_ready(settings.redis.url, lambda: 0.0)(0)
    return False


def wait_until_ready(part: str, within: float = GATE_SECONDS) -> bool:
    """Wait until a new part can replace an old one: it serves and reaches database and Redis."""
    deadline = time.monotonic() + within
    while not _is_ready(part):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def _is_ready(part: str) -> bool:
    settings = config.load_settings()
    match part:
        case "portal":
            return _health(reachable_address(settings.portal.host), settings.portal.port) in {"healthy", "degraded"}
        case "proxy":
            return readiness.responds_ok(reachable_address(settings.proxy.host), settings.proxy.port, "/_zenzefi/ready")
    return is_healthy(part)


def _health(host: str, port: int) -> str:
    """Return the status of /health; "degraded" means that the upstream is down, which is no reason to roll back."""
    connection = http.client.HTTPConnection(host, port, timeout=readiness.TIMEOUT_SECONDS * 2)
    try:
        connection.request("GET", "/health", headers={"Connection": "close"})
        return str(json.loads(connection.getresponse().read())["status"])
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return ""
    finally:
        connection.close()


def _both_queues_have_a_worker(url: str) -> bool:
    """Return whether both job workers of this machine are registered in RQ; registrations of dead workers expire."""
    with Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        try:
            names = [readiness.text(key) for key in client.smembers("rq:workers")]
            mine = [name for name in names if name.startswith(f"rq:worker:zenzefi-{socket.gethostname()}-")]
            return bool(sum(client.exists(name) for name in mine) >= 2)
        except RedisError:
            return True  # unknown while Redis is down


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

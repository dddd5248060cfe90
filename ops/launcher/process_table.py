"""Processes of the platform, in the order of their start."""

import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ops.bootstrap import REPOSITORY
from ops.launcher import readiness
from ops.launcher.part_commands import PARTS
from ops.launcher.plan import Plan
from ops.processes.child import Child
from ops.processes.ports import LOOPBACK

WILDCARDS = {"0.0.0.0": LOOPBACK, "::": "::1", "": LOOPBACK}  # noqa: S104 - loopback reaches a wildcard listener


@dataclass
class Parts:
    """Processes of the platform; its servers are in the plan."""

    upstream: Child | None
    portal: Child
    proxy: Child  # the supervisor of the proxy's workers
    proxy_file: Path  # to which it writes their process ids
    worker: Child  # of the job queues, and the scheduler
    all: list[Child] = field(init=False)

    def __post_init__(self) -> None:
        first = [self.upstream] if self.upstream else []
        self.all = [*first, self.portal, self.proxy, self.worker]

    @property
    def proxy_workers(self) -> list[int]:
        """Process ids of the proxy's workers; none until all of them serve."""
        return readiness.proxy_workers(self.proxy_file, self.proxy.pid)


def make_parts(plan: Plan) -> Parts:
    """Return all processes of the plan; none is started."""
    settings = plan.settings
    portal, proxy_file = reachable_address(settings.portal.host), plan.folders.run / "proxy-workers.json"

    upstream = None
    if plan.upstream_port is not None:
        upstream = _python(
            plan,
            "upstream",
            ["ops.servers.sample_upstream", "--host", LOOPBACK, "--port", str(plan.upstream_port)],
            readiness.http_ready(LOOPBACK, plan.upstream_port, "/"),
        )
        upstream.environment = plan.general_environment()
    # One process for both costs less memory; on several machines they are apart (ops/container).
    worker = _python(plan, "worker", [*PARTS["worker"], "--with-scheduler"], lambda _: False, 20.0)
    works = readiness.worker_ready(settings.redis.url)
    schedules = readiness.scheduler_ready(settings.redis.url, lambda: _spawned_at(worker))
    worker.ready = lambda pid: works(pid) and schedules(pid)
    return Parts(
        upstream=upstream,
        portal=_python(
            plan,
            "portal",
            PARTS["portal"],
            readiness.http_ready(portal, settings.portal.port, "/health"),
            25.0,  # more than gunicorn's graceful_timeout
            more={"PROMETHEUS_MULTIPROC_DIR": str(plan.folders.run / "portal-metrics")},
        ),
        proxy=_python(
            plan,
            "proxy",
            PARTS["proxy"],
            lambda pid: bool(readiness.proxy_workers(proxy_file, pid)),
            settings.proxy.drain_seconds + 20,  # more than the supervisor's own time-out
            more={"ZENZEFI_WORKERS_FILE": str(proxy_file)},
        ),
        proxy_file=proxy_file,
        worker=worker,
    )


def reachable_address(host: str) -> str:
    """Return an address that reaches a listener on `host` from this machine."""
    return WILDCARDS.get(host, host)


def _python(
    plan: Plan,
    name: str,
    command: Sequence[str],
    is_ready: Callable[[int], bool],
    stop_seconds: float = 10.0,
    *,
    more: Mapping[str, str] | None = None,
) -> Child:
    return Child(
        name=name,
        command=[sys.executable, "-P", "-m", *command],
        log=plan.folders.logs / f"{name}.log",
        environment={**plan.part_environment(), **(more or {})},
        ready=is_ready,
        stop_seconds=stop_seconds,
        death_signal=signal.SIGKILL,
        working_folder=REPOSITORY,
    )


def _spawned_at(child: Child) -> float:
    """Return the start time of a process, in seconds of the wall clock."""
    return time.time() - (time.monotonic() - child.started_at)

"""The table of processes that make up the platform, in the order in which they start."""

import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ops import ready
from ops.addresses import LOOPBACK
from ops.bootstrap import REPOSITORY
from ops.plan import Plan
from ops.processes import Child

EVERYWHERE = {"0.0.0.0": LOOPBACK, "::": "::1", "": LOOPBACK}  # noqa: S104 - where one listens everywhere, one asks here


@dataclass
class Parts:
    """The platform's own processes; the servers below them are the plan's."""

    upstream: Child | None
    portal: Child
    proxies: Sequence[Child]
    worker: Child
    scheduler: Child
    all: list[Child] = field(init=False)

    def __post_init__(self) -> None:
        first = [self.upstream] if self.upstream else []
        self.all = [*first, self.portal, *self.proxies, self.worker, self.scheduler]


def make_parts(plan: Plan) -> Parts:
    """Return every process of the plan, none of them started."""
    settings = plan.settings
    portal, proxy = local(settings.portal.host), local(settings.proxy.host)

    upstream = None
    if plan.upstream_port is not None:
        upstream = _python(
            plan,
            "upstream",
            ["ops.sample_upstream", "--host", LOOPBACK, "--port", str(plan.upstream_port)],
            ready.serves(LOOPBACK, plan.upstream_port, "/"),
        )
    gunicorn = ["gunicorn", "-c", str(REPOSITORY / "ops/gunicorn.conf.py"), "portal:create_app()"]
    scheduler = _python(plan, "scheduler", ["jobs.scheduler"], lambda _: False)
    scheduler.ready = ready.keeps_the_schedule(settings.redis.url, lambda: _spawned_at(scheduler))
    return Parts(
        upstream=upstream,
        portal=_python(plan, "portal", gunicorn, ready.serves(portal, settings.portal.port, "/health"), 15.0),
        proxies=[
            _python(
                plan,
                f"proxy-{number}",
                ["addon.worker"],
                ready.shares(proxy, settings.proxy.port, "/_zenzefi/ready"),
                settings.proxy.drain_seconds + 5,
            )
            for number in range(1, settings.proxy.workers + 1)
        ],
        worker=_python(plan, "worker", ["jobs.worker"], ready.works_on_queues(settings.redis.url), 20.0),
        scheduler=scheduler,
    )


def local(host: str) -> str:
    """Return the address at which this machine reaches what listens on `host`."""
    return EVERYWHERE.get(host, host)


def _python(
    plan: Plan, name: str, command: list[str], is_ready: Callable[[int], bool], stop_seconds: float = 10.0
) -> Child:
    return Child(
        name=name,
        command=[sys.executable, "-P", "-m", *command],
        log=plan.folders.logs / f"{name}.log",
        environment=plan.environment,
        ready=is_ready,
        stop_seconds=stop_seconds,
        death_signal=signal.SIGKILL,
        working_folder=REPOSITORY,
    )


def _spawned_at(child: Child) -> float:
    """Return when the process was started, by the wall clock."""
    return time.time() - (time.monotonic() - child.started_at)

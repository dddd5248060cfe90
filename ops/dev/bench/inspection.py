"""`./zenzefi bench --inspect`: cost of an inspection in throughput and memory.

1. Load on one worker, alternating without and with an inspection of everything.
2. mitmweb is killed during a load.
3. A worker records flows at a fixed rate until mitmweb has received a number of them; memory is sampled.
"""

import contextlib
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from redis import Redis

from models import database
from models.config import settings as config
from models.inspections import InspectionTarget as Shown
from models.services.accounts import roles
from models.services.actor import Actor
from models.services.gateway import inspections
from models.services.gateway.workers import FLOWS
from ops.bootstrap import REPOSITORY
from ops.console import Failure, Step
from ops.dev import sample_buyers
from ops.dev.bench import load_clients, memory, wrk
from ops.dev.bench.environment import TOKENS, Servers, buy_tokens, start_servers, wait
from ops.dev.bench.targets import Target, TargetFactory, program
from ops.launcher import readiness
from ops.processes.child import Child
from ops.processes.ports import LOOPBACK, free_port

CONNECTIONS = 32
SMALL_BODY = 1024
# A rate at which the worker can record nearly every flow.
FLOOD_RATE, FLOOD_SECONDS = 1000, 5.0
# Workers apply a changed inspection within a second.
SETTLE_SECONDS = 1.0
MIB = 1024 * 1024


@dataclass(frozen=True)
class Sizes:
    """Sizes of a run."""

    rounds: int
    seconds: int
    flows: int


FULL = Sizes(5, 5, 100_000)
QUICK = Sizes(1, 2, 5_000)


def measure(amount: Sizes) -> dict[str, Any]:
    """Run all measurements; returns the figures. Raises Failure without wrk."""
    tool = program("wrk")
    if tool is None:
        raise Failure("wrk is not installed (apt install wrk).")
    with start_servers() as under:
        tokens, demo = under.folder / "tokens", under.folder / "demo"
        demo.write_text(sample_buyers.migrate(under.environment) + "\n", encoding="utf-8")
        tokens.write_text("\n".join(buy_tokens(under.environment, TOKENS)) + "\n", encoding="utf-8")
        make = TargetFactory(under.folder, under.environment, under.start, tokens, demo)
        upstream = make.upstream(SMALL_BODY)
        usual = make.zenzefi(upstream.port, 1)[0]
        generous = {**under.environment, "ZENZEFI_INSPECTION__FLOWS_PER_SECOND": "1000000"}
        unlimited = replace(make, environment=generous, folder=_folder(under)).zenzefi(upstream.port, 1)[0]
        for child in under.children:
            wait(child)
        with Step("Warming up"):
            _load(tool, usual, amount.seconds)
        found = {"amount": asdict(amount), "turns": _alternate(under, tool, usual, amount)}
        return {**found, "killed": _killed(under, tool, usual, amount), "flood": _flood(under, unlimited, amount)}


def _folder(under: Servers) -> Path:
    folder = under.folder / "unlimited"
    folder.mkdir()
    return folder


def _load(tool: str, target: Target, seconds: int) -> wrk.Load:
    url = f"http://{LOOPBACK}:{target.port}/small"
    return wrk.run(tool, url, target.tokens, connections=CONNECTIONS, seconds=seconds, keep=True)


def _alternate(under: Servers, tool: str, target: Target, amount: Sizes) -> dict[str, Any]:
    """Load the worker, alternating without and with an inspection of everything."""
    off, on = [], []
    added = _flow_count(under)
    with Step("Without and with inspection"):
        for _ in range(amount.rounds):
            off.append(_load(tool, target, amount.seconds))
            with _inspect_everything(under):
                on.append(_load(tool, target, amount.seconds))
    ratios = [shown.per_second / hidden.per_second for hidden, shown in zip(off, on, strict=True)]
    ours = {"ratio": round(median(ratios), 3), "ratios": [round(one, 3) for one in ratios]}
    return {
        "off": asdict(wrk.median_load(off)),
        "on": asdict(wrk.median_load(on)),
        **ours,
        "shown": _flow_count(under) - added,
    }


def _killed(under: Servers, tool: str, target: Target, amount: Sizes) -> dict[str, Any]:
    """Kill mitmweb during a load with an inspection of everything."""
    with Step("Killing mitmweb under load"), _inspect_everything(under), _viewer(under) as viewer:
        before = _load(tool, target, amount.seconds)
        threading.Timer(amount.seconds / 2, os.kill, (viewer.pid, signal.SIGKILL)).start()
        during = _load(tool, target, amount.seconds)
    return {"before": asdict(before), "during": asdict(during)}


def _flood(under: Servers, target: Target, amount: Sizes) -> dict[str, Any]:
    """Record flows until there were `sizes.flows`; sample the memory of worker, mitmweb and stream."""
    marks: list[dict[str, Any]] = []
    secrets = target.tokens.read_text(encoding="utf-8").split()
    with Step(f"{amount.flows:,} flows to mitmweb") as step, _inspect_everything(under), _viewer(under) as viewer:
        began, start = time.monotonic(), _flow_count(under)
        offered = errors = 0
        p95: list[float] = []
        while (shown := _flow_count(under) - start) < amount.flows:
            seen = load_clients.steady(target.port, secrets, FLOOD_RATE, FLOOD_SECONDS)
            offered, errors = offered + seen.offered, errors + seen.errors
            p95.append(seen.p95)
            step.tick(f"{shown:,}")
            marks.append(
                {
                    "shown": _flow_count(under) - start,
                    "worker_mib": _mib(target.pids()),
                    "viewer_mib": _mib([viewer.pid]),
                    "stream_mib": round(_redis(under).memory_usage(FLOWS) / MIB, 1),
                }
            )
        seconds = time.monotonic() - began
        # Let mitmweb catch up.
        time.sleep(SETTLE_SECONDS)
    figures = {"seconds": round(seconds, 1), "requests": offered, "errors": errors, "p95": round(median(p95), 1)}
    return {**figures, "marks": marks}


def _mib(pids: list[int]) -> float:
    return round(memory.resident(pids) / MIB, 1)


def _redis(under: Servers) -> Any:
    return Redis.from_url(under.environment["REDIS_URL"])


def _flow_count(under: Servers) -> int:
    """Return how many flows were ever added to the stream."""
    redis = _redis(under)
    return int(redis.xinfo_stream(FLOWS)["entries-added"]) if redis.exists(FLOWS) else 0


@contextlib.contextmanager
def _inspect_everything(under: Servers) -> Iterator[None]:
    """Run an inspection of everything, as an admin would start it."""
    settings = config.load_settings(under.environment)
    engine = database.connect(settings.database)
    factory = database.sessions(engine)
    with factory.begin() as session:
        admin = roles.first_admin(session)
        actor = Actor(None if admin is None else admin.id)
        facts: dict[str, Any] = {"minutes": 60, "reason": "benchmark", "rules": settings.inspection, "actor": actor}
        begun: uuid.UUID = inspections.start(session, target=Shown.EVERYTHING, name="", **facts).id
    time.sleep(SETTLE_SECONDS)
    try:
        yield
    finally:
        with factory.begin() as session:
            inspections.end(session, begun, actor=actor)
        engine.dispose()
        time.sleep(SETTLE_SECONDS)


@contextlib.contextmanager
def _viewer(under: Servers) -> Iterator[Child]:
    """Run mitmweb as `./zenzefi inspect` does."""
    port = free_port()
    viewer = Child(
        name="viewer",
        command=[sys.executable, "-P", "-m", "ops.inspect", "--port", str(port), "--data", str(under.folder)],
        log=under.folder / "viewer.log",
        environment=under.environment,
        ready=lambda _: readiness.listens(LOOPBACK, port),
        working_folder=REPOSITORY,
    )
    under.start(viewer)
    wait(viewer)
    try:
        yield viewer
    finally:
        viewer.stop()


def text(found: dict[str, Any]) -> str:
    """Return the figures as text."""
    turns, killed, flood = found["turns"], found["killed"], found["flood"]
    loads = {
        "no inspection": turns["off"],
        "inspection of everything": turns["on"],
        "before mitmweb was killed": killed["before"],
        "while it was killed": killed["during"],
    }
    lines = [
        f"  {name:<28}{load['per_second']:>8,.0f} requests/s, p95 {load['p95']:.1f} ms, {load['errors']} errors"
        for name, load in loads.items()
    ]
    lines += [f"  With inspection, {turns['ratio']:.3f} of the rate; {turns['shown']:,} flows were recorded.", ""]
    lines.append(f"  {'flows':>12}{'worker MiB':>12}{'mitmweb MiB':>12}{'stream MiB':>12}")
    marks = flood["marks"]
    lines += [
        f"  {mark['shown']:>12,}{mark['worker_mib']:>12.1f}{mark['viewer_mib']:>12.1f}{mark['stream_mib']:>12.1f}"
        for mark in marks[:: max(len(marks) // 8, 1)]
    ]
    rate = f"{flood['requests']:,} requests at a fixed rate in {flood['seconds']:.0f} s, p95 {flood['p95']} ms"
    lines.append(f"  {rate}, {flood['errors']} errors")
    return "\n".join(lines)

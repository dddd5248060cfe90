"""Measurements of the proxy benchmark; targets alternate, so that a slow minute of the machine affects all alike."""

import time
from dataclasses import asdict
from typing import Any

from ops.console import Failure, Step
from ops.dev.bench import load_clients, memory, wrk
from ops.dev.bench.sizes import MIB, Sizes
from ops.dev.bench.targets import Target
from ops.processes.ports import LOOPBACK

ONE_PER_CONNECTION = 32
MANY = 100
SETTLE_SECONDS = 0.5


def loads(targets: list[Target], sizes: Sizes, tool: str) -> list[dict[str, Any]]:
    """Measure small replies: each target at each number of connections, and once with a connection per request."""
    cases = [(number, True) for number in sizes.connections] + [(ONE_PER_CONNECTION, False)]
    measured: dict[tuple[int, int, bool], list[wrk.Load]] = {}
    with Step("Warming up") as step:
        for target in targets if sizes.warm_seconds else ():
            step.tick(target.name)
            _load(tool, target, 32, sizes.warm_seconds, keep=True)
    for number in range(sizes.rounds):
        with Step(f"Small replies, round {number + 1} of {sizes.rounds}") as step:
            for connections, keep in cases:
                for index in _rotated(len(targets), number):
                    step.tick(f"{targets[index].name}, {connections} connections")
                    load = _load(tool, targets[index], connections, sizes.seconds, keep=keep)
                    measured.setdefault((index, connections, keep), []).append(load)
    return [
        {
            "target": targets[index].name,
            "workers": targets[index].workers,
            "connections": connections,
            "keep": keep,
            **asdict(wrk.median_load(rounds)),
            "rounds": [load.per_second for load in rounds],
        }
        for (index, connections, keep), rounds in sorted(measured.items())
    ]


def _rotated(count: int, by: int) -> list[int]:
    """Return 0 to count-1, rotated, so that another target comes first in each round."""
    return [(index + by) % count for index in range(count)]


def _load(tool: str, target: Target, connections: int, seconds: int, *, keep: bool) -> wrk.Load:
    url = f"http://{LOOPBACK}:{target.port}/small"
    # wrk counts from its first connection, and opening hundreds takes a good part of a second.
    seconds *= 2 if connections >= MANY else 1
    return wrk.run(tool, url, target.tokens, connections=connections, seconds=seconds, keep=keep)


def transfers(targets: list[Target], sizes: Sizes) -> list[dict[str, Any]]:
    """Measure large downloads and uploads, one at a time, with the memory that the target adds."""
    rows: dict[tuple[str, str], list[tuple[float, int]]] = {}
    chosen = [target for target in targets if target.is_compared and _is_single(target)]
    with Step("Large transfers") as step:
        for _ in range(sizes.transfer_rounds):
            for target in chosen:
                for name, transfer in (("download", load_clients.download), ("upload", load_clients.upload)):
                    step.tick(f"{name} through {target.name}")
                    with memory.Growth(target.pids) as growth:
                        seconds = transfer(target.port, _secrets(target)[0], sizes.transfer_bytes)
                    rate = sizes.transfer_bytes / MIB / seconds
                    rows.setdefault((target.name, name), []).append((rate, growth.bytes))
    return [
        {
            "target": target,
            "direction": direction,
            "mib_per_second": round(sorted(rate for rate, _ in seen)[len(seen) // 2], 1),
            "growth_mib": round(max(growth for _, growth in seen) / MIB, 1),
        }
        for (target, direction), seen in rows.items()
    ]


def _is_single(target: Target) -> bool:
    return target.workers == 1 or "nginx" in target.name


def steady(target: Target, sizes: Sizes) -> dict[str, Any]:
    """Measure latencies at a fixed rate of requests, after a short warm-up."""
    with Step(f"{sizes.steady_rate} requests/s for {sizes.steady_seconds:g} s, {target.name}"):
        load_clients.steady(target.port, _secrets(target), sizes.steady_rate, min(sizes.steady_seconds / 4, 5.0))
        with memory.Growth(target.pids) as growth:
            seen = load_clients.steady(target.port, _secrets(target), sizes.steady_rate, sizes.steady_seconds)
    return {
        "target": target.name,
        "workers": target.workers,
        "rate": sizes.steady_rate,
        "seconds": sizes.steady_seconds,
        **asdict(seen),
        "growth_mib": round(growth.bytes / MIB, 1),
    }


def idle(target: Target, sizes: Sizes) -> dict[str, Any]:
    """Measure the memory that idle client connections add to the workers."""
    with Step(f"{sizes.idle_connections} idle connections"):
        before = memory.resident(target.pids())
        if not before:
            raise Failure(f"{target.name} has no process to be measured.")
        connections = load_clients.Idle(target.port, _secrets(target), sizes.idle_connections)
        try:
            time.sleep(SETTLE_SECONDS)
            grown = memory.resident(target.pids()) - before
        finally:
            connections.close()
    return {
        "target": target.name,
        "connections": sizes.idle_connections,
        "kib_each": round(grown / 1024 / sizes.idle_connections, 1),
    }


def _secrets(target: Target) -> list[str]:
    return target.tokens.read_text(encoding="utf-8").split()

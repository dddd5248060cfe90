"""`./zenzefi bench`: run the proxy benchmark, print a table, and write it with its figures as JSON to a folder."""

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from models import clock
from ops.bootstrap import REPOSITORY
from ops.console import Failure, print_error, print_line
from ops.dev.bench import idle_platform, inspection, measure, report, revocation_latency
from ops.dev.bench.environment import start_environment
from ops.dev.bench.money import run as money
from ops.dev.bench.nginx import lua
from ops.dev.bench.sizes import FULL, QUICK, Sizes
from ops.dev.bench.targets import program
from ops.dev.bench.tls_upstream import measure as tls_upstream

SPARE_FILES = 1000  # descriptors that a process needs besides idle connections


class Terminated(Exception):
    """The benchmark was terminated."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; returns the exit code. A missed target is reported and is not an error."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        before = json.loads(options.compare.read_text(encoding="utf-8")) if options.compare else None
        if options.money or options.inspect or options.idle:
            return _measure_one(options)
        sizes = QUICK if options.quick else FULL
        if options.steady:
            sizes = replace(sizes, steady_seconds=options.steady)
        options.out.mkdir(parents=True, exist_ok=True)
        results = run(sizes)
        written = report.text(results, before)
        (options.out / "bench.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (options.out / "bench.txt").write_text(written, encoding="utf-8")
        print_line()
        print_line(written)
        print_line(f"Written to {options.out}: bench.txt, bench.json")
        return 0
    except Failure as failure:
        print_error(str(failure))
    except (OSError, ValueError) as error:
        print_error(f"The benchmark failed: {error}.")
    except (KeyboardInterrupt, Terminated):
        print_error("The benchmark was interrupted.")
    return 1


def run(sizes: Sizes) -> dict[str, Any]:
    """Start, measure and stop everything; returns the figures."""
    tool = program("wrk")
    missing = [] if tool else ["wrk is not installed: small replies were not measured (apt install wrk)."]
    if program("nginx") is None:
        missing.append("nginx is not installed: the upstream is a slower asyncio server (apt install nginx).")
    if not_measured := lua.missing(program("nginx")):
        missing.append(not_measured)
    machine = _machine()
    print_line("Measuring the proxy")
    with start_environment(sizes) as environment:
        targets = environment.targets
        alone = [target for target in targets if target.name == "zenzefi, 64 tokens"]
        one, two = min(alone, key=lambda target: target.workers), max(alone, key=lambda target: target.workers)
        return {
            "made_at": clock.now().isoformat(timespec="seconds"),
            "machine": machine,
            "sizes": asdict(sizes),
            "missing": missing,
            # Idle connections first: a worker that has served many requests would reuse freed memory.
            "idle": measure.idle(one, _affordable(sizes)),
            "loads": measure.loads(targets, sizes, tool) if tool else [],
            "transfers": measure.transfers(targets, sizes),
            "revokes": revocation_latency.measure(two, environment.make.environment, environment.spares, tool),
            # The upstream alone, briefly: the latency of this machine and the client.
            "steady_alone": measure.steady(targets[0], replace(sizes, steady_seconds=min(sizes.steady_seconds, 10.0))),
            "steady": measure.steady(two, sizes),
            # Last, since it starts more processes.
            "tls": tls_upstream.measure(environment, sizes),
        }


def _measure_one(options: argparse.Namespace) -> int:
    """Run the benchmark of the shop, of an idle installation, or of inspections."""
    machine = _machine()
    if options.money:
        print_line("Measuring the shop")
        name, measured = "money", money.run(money.QUICK if options.quick else money.FULL)
        tables = money.text(measured)
    elif options.idle:
        print_line("Measuring an idle installation")
        name, measured = "idle", idle_platform.measure(idle_platform.QUICK if options.quick else idle_platform.FULL)
        tables = idle_platform.text(measured)
    else:
        print_line("Measuring inspections")
        name, measured = "inspect", inspection.measure(inspection.QUICK if options.quick else inspection.FULL)
        tables = inspection.text(measured)
    results = {"made_at": clock.now().isoformat(timespec="seconds"), "machine": machine, **measured}
    written = f"{report.heading(machine)}\n\n{tables}"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (options.out / f"{name}.txt").write_text(written, encoding="utf-8")
    print_line()
    print_line(written)
    print_line(f"Written to {options.out}: {name}.txt, {name}.json")
    return 0


def _affordable(sizes: Sizes) -> Sizes:
    """Limit the idle connections to the open files that are allowed to a worker, and to this process."""
    most = max(os.sysconf("SC_OPEN_MAX") - SPARE_FILES, 10)
    return replace(sizes, idle_connections=min(sizes.idle_connections, most))


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "mitmproxy": version("mitmproxy"),
        "load": round(os.getloadavg()[0], 2),
    }


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    description = "Measure the proxy beside mitmproxy and nginx."
    parser = argparse.ArgumentParser(prog="./zenzefi bench", description=description)
    parser.add_argument("--quick", action="store_true", help="about a minute instead of ten; less precise")
    parser.add_argument(
        "--money", action="store_true", help="measure purchases, payment callbacks and ledger verification instead"
    )
    parser.add_argument("--inspect", action="store_true", help="measure the cost of inspections instead")
    parser.add_argument("--idle", action="store_true", help="measure what an idle installation costs instead")
    parser.add_argument("--steady", type=float, metavar="SECONDS", help="duration of the fixed rate")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="bench.json of an earlier run")
    folder = REPOSITORY / ".zenzefi" / "bench" / clock.now().strftime("%Y%m%d-%H%M%S")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", default=folder, help="where the table and the JSON are written"
    )
    return parser.parse_args(arguments)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Run wrk and parse its result."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ops.console import Failure

SCRIPT = Path(__file__).with_name("wrk.lua")
RESULT = "RESULT "
GRACE_SECONDS = 30


@dataclass(frozen=True)
class Load:
    """One measurement, or the medians of several: requests per second, latencies in ms, and errors."""

    per_second: float
    p50: float
    p95: float
    p99: float
    errors: int  # error responses and failed connections


def run(
    wrk: str,
    url: str,
    tokens: Path,
    *,
    connections: int,
    seconds: int,
    keep: bool,
    more: Sequence[str] = (),
) -> Load:
    """Load a URL for some seconds; with `keep` off every request has its own connection.

    `more` are further arguments of wrk.lua.
    """
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), url]
    command += ["--", str(tokens), "keep" if keep else "close", *more]
    timeout = seconds + GRACE_SECONDS
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise Failure(f"wrk failed: {reason[-1]}")
    return read(done.stdout)


def read(output: str) -> Load:
    """Parse the script's line in the output of wrk."""
    line = next((line for line in output.splitlines() if line.startswith(RESULT)), None)
    if line is None:
        raise Failure("wrk printed no result; is it a build with LuaJIT?")
    result = json.loads(line.removeprefix(RESULT))
    succeeded = max(result["requests"] - result["refused"], 0)
    return Load(
        round(succeeded / result["seconds"], 1),
        result["p50"],
        result["p95"],
        result["p99"],
        result["failed"] + result["refused"],
    )


def median_load(loads: list[Load]) -> Load:
    """Return the medians of several measurements, and the sum of their errors."""
    return Load(
        round(median(load.per_second for load in loads), 1),
        round(median(load.p50 for load in loads), 3),
        round(median(load.p95 for load in loads), 3),
        round(median(load.p99 for load in loads), 3),
        sum(load.errors for load in loads),
    )

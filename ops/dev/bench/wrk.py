"""Drives wrk and reads what it measured."""

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
    """One measurement, or the medians of several: requests a second, latencies in ms, and what went wrong."""

    per_second: float
    p50: float
    p95: float
    p99: float
    errors: int  # answers that were no success, and connections that failed


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
    """Load a URL for some seconds; with `keep` off every request has a connection of its own.

    `more` are further arguments of the script.
    """
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), url]
    command += ["--", str(tokens), "keep" if keep else "close", *more]
    patience = seconds + GRACE_SECONDS
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience)
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise Failure(f"wrk failed: {reason[-1]}")
    return read(done.stdout)


def read(output: str) -> Load:
    """Find the script's line in what wrk has printed."""
    line = next((line for line in output.splitlines() if line.startswith(RESULT)), None)
    if line is None:
        raise Failure("wrk printed no result; is it a build with LuaJIT?")
    said = json.loads(line.removeprefix(RESULT))
    succeeded = max(said["requests"] - said["refused"], 0)
    return Load(
        round(succeeded / said["seconds"], 1), said["p50"], said["p95"], said["p99"], said["failed"] + said["refused"]
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

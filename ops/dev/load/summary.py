"""Summary of a load test: Locust's table in Markdown, and the targets."""

import argparse
import csv
import os
from pathlib import Path

from ops.console import Failure
from ops.dev.load.platform import LocustUsage

TARGET_RATE, TARGET_P95_MS = 1000, 200
# Beyond this share of a core Locust measures itself: responses wait in its event loop.
BUSY = 0.8
COLUMNS = ("Requests/s", "50%", "95%", "99%", "Max Response Time", "Request Count", "Failure Count")
HEAD = ("", "per second", "p50 ms", "p95 ms", "p99 ms", "highest ms", "requests", "failed")


def text(folder: Path, options: argparse.Namespace, used: LocustUsage) -> str:
    """Return the summary of a run's CSV: the table, and whether the targets were met."""
    with (folder / "load_stats.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise Failure("Locust counted no request.")
    offered = f"{options.seconds} s, {options.clients} clients that offer {options.rate} requests a second"
    shared = f"{os.cpu_count()} cores shared with Locust, load {used.load:.1f}"
    served = f"to {options.workers} worker(s), {options.buyers} buyers in the portal"
    lines = ["# Load", "", f"{offered} {served}; {shared}."]
    lines += ["", f"| {' | '.join(HEAD)} |", "|---|" + "---:|" * (len(HEAD) - 1)]
    for row in rows:
        name = f"{row['Type']} {row['Name']}" if row["Type"] == "CHECK" else row["Name"]
        lines.append(f"| {name} | {' | '.join(_number(row[column]) for column in COLUMNS)} |")
    proxy = [row for row in rows if row["Name"].startswith("proxy ")]
    rate = sum(float(row["Requests/s"]) for row in proxy)
    p95 = max((float(row["95%"]) for row in proxy), default=0.0)
    verdict = _verdict(rate >= TARGET_RATE * 0.98)
    lines += ["", f"- The proxy answered {rate:,.0f} requests a second (target {TARGET_RATE:,}): {verdict}."]
    lines.append(f"- p95 {p95:.0f} ms (target below {TARGET_P95_MS} ms): {_verdict(p95 < TARGET_P95_MS)}.")
    share = f"- Locust used {used.cpu:.0%} of one core"
    lines.append(f"{share}: it was the bottleneck, and the times are too long." if used.cpu > BUSY else f"{share}.")
    return "\n".join(lines) + "\n"


def _number(value: str) -> str:
    try:
        return f"{float(value):,.1f}".removesuffix(".0")
    except ValueError:
        return "-"


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "MISSED"

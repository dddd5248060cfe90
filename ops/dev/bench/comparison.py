"""Targets of the proxy benchmark, and the comparison of a run's results with them."""

from collections.abc import Mapping
from typing import Any

Results = Mapping[str, Any]
Row = Mapping[str, Any]

TIMES_MITMDUMP = 10.0
POLICY_PERCENT, P95_MS, STEADY_P95_MS = 35.0, 20.0, 50.0
GROWTH_MIB, STEADY_GROWTH_MIB, IDLE_KIB = 32.0, 16.0, 40.0
REVOKE_MS, REVOKE_MEDIAN_MS = 1000.0, 100.0
TARGET_CONNECTIONS = 32


def compare_with_targets(results: Results) -> list[dict[str, Any]]:
    """Compare the results with the targets; rows that were not measured are left out."""
    found: list[dict[str, Any]] = []

    def judge(bar: str, wanted: str, measured: str, *, met: bool) -> None:
        found.append({"bar": bar, "wanted": wanted, "measured": measured, "met": met})

    ours = _at(results, "zenzefi, 64 tokens")
    if ours:
        rate = ours["per_second"]
        other = _at(results, "mitmdump")
        if other and other["per_second"]:
            ratio = rate / other["per_second"]
            wanted = f"{TIMES_MITMDUMP:g} or more"
            judge("one worker, times mitmdump", wanted, f"{ratio:.1f}", met=ratio >= TIMES_MITMDUMP)
        judge("p95 at 32 connections", f"under {P95_MS:g} ms", f"{ours['p95']:.1f} ms", met=ours["p95"] < P95_MS)
        layer = _at(results, "layer without policy")
        if layer and layer["per_second"]:
            cost = 100 * (1 - rate / layer["per_second"])
            judge("cost of the policy", f"{POLICY_PERCENT:g} % or less", f"{cost:.0f} %", met=cost <= POLICY_PERCENT)
    for row in results["transfers"]:
        if row["target"] == "zenzefi, 64 tokens":
            grown = row["growth_mib"]
            judge(
                f"memory added by a {row['direction']}",
                f"under {GROWTH_MIB:g} MiB",
                f"{grown:.1f} MiB",
                met=grown < GROWTH_MIB,
            )
    steady, idle, revokes = results.get("steady"), results.get("idle"), results.get("revokes")
    if revokes:
        middle, highest = revokes["p50"], revokes["highest"]
        wanted = f"under {REVOKE_MEDIAN_MS:g} ms"
        judge("a revocation at every worker, median", wanted, f"{middle:.1f} ms", met=middle < REVOKE_MEDIAN_MS)
        wanted = f"under {REVOKE_MS:g} ms"
        judge("a revocation at every worker, slowest", wanted, f"{highest:.1f} ms", met=highest < REVOKE_MS)
    if steady:
        p95, errors, grown = steady["p95"], steady["errors"], steady["growth_mib"]
        name = f"{steady['rate']}/s"
        judge(f"p95 at {name}", f"under {STEADY_P95_MS:g} ms", f"{p95:.1f} ms", met=p95 < STEADY_P95_MS)
        judge(f"errors at {name}", "none", str(errors), met=errors == 0)
        judge(
            f"memory added at {name}",
            f"under {STEADY_GROWTH_MIB:g} MiB",
            f"{grown:.1f} MiB",
            met=grown < STEADY_GROWTH_MIB,
        )
    if idle:
        each = idle["kib_each"]
        judge("an idle connection", f"under {IDLE_KIB:g} KiB", f"{each:.1f} KiB", met=each < IDLE_KIB)
    return found


def _at(results: Results, name: str) -> Row | None:
    """Return a target's row at 32 kept connections, with the fewest workers."""
    rows = [
        row
        for row in results["loads"]
        if row["target"] == name and row["keep"] and row["connections"] == TARGET_CONNECTIONS
    ]
    return min(rows, key=lambda row: row["workers"], default=None)

"""Targets of the proxy benchmark, and the comparison of a run's results with them."""

from collections.abc import Iterator, Mapping
from typing import Any

from ops.dev.bench.nginx import lua

Results = Mapping[str, Any]
Row = Mapping[str, Any]
Judged = dict[str, Any]

OURS, MITMDUMP, LAYER = "zenzefi, 64 tokens", "mitmdump", "layer without policy"
CONNECTIONS, MANY_CONNECTIONS = 32, 256
TIMES_MITMDUMP, TIMES_LUA, TIMES_LUA_NEW_CONNECTIONS = 12.0, 0.6, 0.5
POLICY_PERCENT, P95_MS, P99_MANY_MS, STEADY_P95_MS = 35.0, 20.0, 120.0, 50.0
GROWTH_MIB, STEADY_GROWTH_MIB, IDLE_KIB = 32.0, 16.0, 20.0
REVOKE_MS, REVOKE_MEDIAN_MS = 1000.0, 100.0
FAR_MS, TIMES_NGINX_FAR, NGINX_NEAR_MS = 20, 1.5, 3.0


def compare_with_targets(results: Results) -> list[Judged]:
    """Compare the results with the targets; rows that were not measured are left out."""
    return [
        *_loads(results),
        *_tls(results.get("tls", ())),
        *_transfers(results["transfers"]),
        *_revocations(results.get("revokes")),
        *_steady(results.get("steady")),
        *_idle(results.get("idle")),
    ]


def _judged(bar: str, wanted: str, measured: str, *, met: bool) -> Judged:
    return {"bar": bar, "wanted": wanted, "measured": measured, "met": met}


def _below(bar: str, limit: float, measured: float, unit: str) -> Judged:
    return _judged(bar, f"under {limit:g} {unit}", f"{measured:.1f} {unit}", met=measured < limit)


def _at_least(bar: str, limit: float, ours: Row | None, other: Row | None, digits: int = 2) -> Iterator[Judged]:
    """Compare the rates of two rows, unless one of them was not measured."""
    if ours and other and other["per_second"]:
        ratio = ours["per_second"] / other["per_second"]
        yield _judged(bar, f"{limit:g} or more", f"{ratio:.{digits}f}", met=ratio >= limit)


def _loads(results: Results) -> Iterator[Judged]:
    ours, many = _load(results, OURS), _load(results, OURS, MANY_CONNECTIONS)
    yield from _at_least("one worker, times mitmdump", TIMES_MITMDUMP, ours, _load(results, MITMDUMP), 1)
    yield from _at_least(f"one worker, times {lua.NAME}", TIMES_LUA, ours, _load(results, lua.NAME))
    yield from _at_least(
        f"connection for each request, times {lua.NAME}",
        TIMES_LUA_NEW_CONNECTIONS,
        _load(results, OURS, keep=False),
        _load(results, lua.NAME, keep=False),
    )
    if ours:
        yield _below(f"p95 at {CONNECTIONS} connections", P95_MS, ours["p95"], "ms")
    if many:
        yield _below(f"p99 at {MANY_CONNECTIONS} connections", P99_MANY_MS, many["p99"], "ms")
    layer = _load(results, LAYER)
    if ours and layer and layer["per_second"]:
        cost = 100 * (1 - ours["per_second"] / layer["per_second"])
        yield _judged(
            "cost of the policy", f"{POLICY_PERCENT:g} % or less", f"{cost:.0f} %", met=cost <= POLICY_PERCENT
        )


def _load(results: Results, target: str, connections: int = CONNECTIONS, *, keep: bool = True) -> Row | None:
    """Return a target's row with the fewest workers."""
    rows = [
        row
        for row in results["loads"]
        if row["target"] == target and row["keep"] == keep and row["connections"] == connections
    ]
    return min(rows, key=lambda row: row["workers"], default=None)


def _tls(rows: list[Row]) -> Iterator[Judged]:
    """Compare the medians of the gateway and nginx, if there were responses from both."""
    medians = {(row["target"], row["delay_ms"]): row["p50"] for row in rows if row["errors"] < row["offered"]}

    def pair(delay: int) -> tuple[float, float] | None:
        ours, nginx = medians.get(("zenzefi", delay)), medians.get(("nginx", delay))
        return (ours, nginx) if ours and nginx else None

    if near := pair(0):
        more = near[0] - near[1]
        wanted = f"at most {NGINX_NEAR_MS:g} ms above nginx"
        yield _judged(
            "connection for each request over TLS, at no distance", wanted, f"{more:.1f} ms", met=more <= NGINX_NEAR_MS
        )
    if far := pair(FAR_MS):
        times = far[0] / far[1]
        wanted = f"at most {TIMES_NGINX_FAR:g} times nginx"
        yield _judged(
            f"connection for each request over TLS, {FAR_MS} ms away",
            wanted,
            f"{times:.2f}",
            met=times <= TIMES_NGINX_FAR,
        )


def _transfers(rows: list[Row]) -> Iterator[Judged]:
    for row in rows:
        if row["target"] == OURS:
            yield _below(f"memory added by a {row['direction']}", GROWTH_MIB, row["growth_mib"], "MiB")


def _revocations(row: Row | None) -> Iterator[Judged]:
    if row:
        yield _below("a revocation at every worker, median", REVOKE_MEDIAN_MS, row["p50"], "ms")
        yield _below("a revocation at every worker, slowest", REVOKE_MS, row["highest"], "ms")


def _steady(row: Row | None) -> Iterator[Judged]:
    if row:
        rate, errors = f"{row['rate']}/s", row["errors"]
        yield _below(f"p95 at {rate}", STEADY_P95_MS, row["p95"], "ms")
        yield _judged(f"errors at {rate}", "none", str(errors), met=errors == 0)
        yield _below(f"memory added at {rate}", STEADY_GROWTH_MIB, row["growth_mib"], "MiB")


def _idle(row: Row | None) -> Iterator[Judged]:
    if row:
        yield _below("an idle connection", IDLE_KIB, row["kib_each"], "KiB")

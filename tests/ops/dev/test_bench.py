"""The benchmark: parsing of results, evaluation, report, and one run at tiny sizes."""

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ops.console import Failure
from ops.dev.bench import __main__ as bench
from ops.dev.bench import comparison, load_clients, memory, report, wrk
from ops.dev.bench.nginx import lua
from ops.dev.bench.sizes import TINY
from ops.dev.bench.targets import program
from ops.processes.child import MARK

PRINTED = """Running 1s test @ http://127.0.0.1:1/small
  1 threads and 4 connections
RESULT {"requests": 3000, "seconds": 1.5, "failed": 2, "refused": 30, "p50": 0.9, "p95": 2.5, "p99": 7.0}
"""


def load(per_second: float, *, errors: int = 0) -> wrk.Load:
    return wrk.Load(per_second, 1.0, 2.0, 3.0, errors)


def row(target: str, per_second: float, *, workers: int = 1, p95: float = 5.0) -> dict[str, Any]:
    return {
        "target": target, "workers": workers, "connections": 32, "keep": True, "per_second": per_second,
        "p50": 1.0, "p95": p95, "p99": 9.0, "errors": 0, "rounds": [per_second],
    }  # fmt: skip


def results(**more: Any) -> dict[str, Any]:
    machine = {"processor": "x", "cores": 2, "kernel": "6", "python": "3.13", "mitmproxy": "12", "load": 0.1}
    return {"machine": machine, "missing": [], "loads": [], "transfers": [], **more}


def test_the_result_of_wrk_counts_successes_and_failures() -> None:
    assert wrk.read(PRINTED) == wrk.Load(1980.0, 0.9, 2.5, 7.0, 32)


def test_a_missing_result_of_wrk_is_reported_in_one_sentence() -> None:
    with pytest.raises(Failure, match="wrk printed no result"):
        wrk.read("Running 1s test\n")


def test_the_median_of_rounds_is_reported_with_all_errors() -> None:
    assert wrk.median_load([load(100), load(900, errors=3), load(200)]) == load(200, errors=3)


def test_percentiles_of_a_fixed_rate_are_those_of_the_responses() -> None:
    seen = load_clients.arrivals(101, 1, [float(number) for number in range(100)])
    assert (seen.offered, seen.errors, seen.p50, seen.p95, seen.highest) == (101, 1, 50.0, 95.0, 99.0)
    assert load_clients.arrivals(5, 5, []).p95 == 0.0


def test_a_fixed_rate_client_counts_every_response_and_every_failure() -> None:
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                asked += 1
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % (500 if asked % 10 == 0 else 200))
        writer.close()

    async def measure() -> load_clients.Arrivals:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            return await load_clients._steady(server.sockets[0].getsockname()[1], ["a", "b"], 500, 0.2)

    seen = asyncio.run(measure())
    assert (seen.offered, seen.errors, asked) == (100, 10, 100)
    assert 0 < seen.p50 <= seen.highest


def test_targets_are_compared_with_one_worker_at_32_connections() -> None:
    rows = [
        row("zenzefi, 64 tokens", 5000, p95=12.0),
        row("zenzefi, 64 tokens", 90000, workers=2),
        row("mitmdump", 450),
        row("layer without policy", 7000),
        row("nginx + Lua + Redis", 10000),
        row("zenzefi, 64 tokens", 5000) | {"connections": 256, "p99": 130.0},
        row("zenzefi, 64 tokens", 900) | {"keep": False},
        row("nginx + Lua + Redis", 1500) | {"keep": False},
    ]
    found = {bar["bar"]: (bar["measured"], bar["met"]) for bar in comparison.compare_with_targets(results(loads=rows))}
    assert found == {
        "one worker, times mitmdump": ("11.1", False),
        "one worker, times nginx + Lua + Redis": ("0.50", False),
        "connection for each request, times nginx + Lua + Redis": ("0.60", True),
        "p95 at 32 connections": ("12.0 ms", True),
        "p99 at 256 connections": ("130.0 ms", False),
        "cost of the policy": ("29 %", True),
    }


def test_memory_errors_and_idle_connections_have_targets() -> None:
    steady = {"rate": 1000, "p95": 51.0, "errors": 1, "growth_mib": 2.0}
    transfer = {"target": "zenzefi, 64 tokens", "direction": "download", "growth_mib": 40.0}
    found = comparison.compare_with_targets(results(transfers=[transfer], steady=steady, idle={"kib_each": 15.0}))
    assert [bar["met"] for bar in found] == [False, False, False, True, True]


def test_revocation_latency_is_judged_by_its_median_and_maximum() -> None:
    row = {"revokes": 60, "loaded": True, "workers": 2, "p50": 30.0, "p95": 90.0, "highest": 1200.0}
    found = comparison.compare_with_targets(results(revokes=row))
    assert [(bar["measured"], bar["met"]) for bar in found] == [("30.0 ms", True), ("1200.0 ms", False)]
    assert "60 revocations under full load, until effective at every worker" in report.text(results(revokes=row))


def test_the_table_shows_missing_targets_and_changes_of_figures() -> None:
    now = results(loads=[row("mitmdump", 550), row("zenzefi, 64 tokens", 10)], missing=["wrk is not installed."])
    said = report.text(now, results(loads=[row("mitmdump", 500)]))
    assert "Left out: wrk is not installed." in said
    [line] = [line for line in said.splitlines() if line.startswith("mitmdump")]
    assert line.endswith("+10%")
    assert "new" in said
    assert "MISSED" in said


def test_the_fixed_rate_is_shown_beside_the_same_without_the_proxy() -> None:
    row = {"rate": 50, "seconds": 5.0, "target": "upstream", "workers": 1, "offered": 250, "growth_mib": 0.0}
    row |= {"p50": 1.0, "p95": 2.0, "p99": 3.0, "highest": 4.0, "errors": 0}
    said = report.text(results(steady_alone=row, steady=row | {"target": "zenzefi"}))
    assert "50/s for 5 s, upstream" in said
    assert "50/s for 5 s, zenzefi" in said


def test_a_table_aligns_text_to_the_left_and_figures_to_the_right() -> None:
    assert report.table(["name", "n"], [["a", "1"], ["long name", "1,000"]]) == [
        "name           n",
        "---------  -----",
        "a              1",
        "long name  1,000",
    ]


def test_memory_of_a_process_and_its_growth_are_measured() -> None:
    assert memory.resident([os.getpid()]) > 1024 * 1024
    assert memory.resident([2**22]) == 0
    assert os.getpid() in memory.process_tree(os.getppid())
    with memory.Growth(lambda: [os.getpid()]) as growth:
        kept = bytearray(os.urandom(1)) * (64 * 1024 * 1024)
    assert growth.bytes > 48 * 1024 * 1024
    assert len(kept) == 64 * 1024 * 1024


LONG = pytest.mark.skipif(not os.environ.get("ZENZEFI_SOAK"), reason="starts 13 servers and proxies; --soak runs it")


def left() -> list[str]:
    """Return what a run may leave behind: its folder, and processes with its mark."""
    found = [str(folder) for folder in Path(tempfile.gettempdir()).glob("zenzefi-bench-*")]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={tempfile.gettempdir()}/zenzefi-bench-".encode() in (process / "environ").read_bytes():
                found.append(process.name)
    return found


def tls_row(target: str, delay: int, p50: float, *, errors: int = 0) -> dict[str, Any]:
    return {"target": target, "delay_ms": delay, "offered": 20, "errors": errors, "p50": p50, "p95": 2 * p50}


def test_a_tls_upstream_is_judged_beside_nginx_at_each_distance() -> None:
    near = [tls_row("nginx", 0, 1.0), tls_row("zenzefi", 0, 3.9)]
    rows = [*near, tls_row("nginx", 20, 41.0), tls_row("zenzefi", 20, 82.0)]
    found = comparison.compare_with_targets(results(tls=rows))
    assert [(bar["measured"], bar["met"]) for bar in found] == [("2.9 ms", True), ("2.00", False)]
    said = report.text(results(tls=rows))
    assert "TLS upstream" in said
    assert "82.00" in said


def test_a_tls_upstream_without_nginx_or_without_responses_is_not_judged() -> None:
    rows = [tls_row("zenzefi", 0, 3.9), tls_row("nginx", 20, 0.0, errors=20), tls_row("zenzefi", 20, 41.0)]
    assert comparison.compare_with_targets(results(tls=rows)) == []


def test_parts_of_the_gateway_in_lua_that_are_not_installed_are_named(tmp_path: Path) -> None:
    module, library = tmp_path / "ngx_http_lua_module.so", tmp_path / "resty" / "redis.lua"
    assert "nginx, its Lua module, the Redis library for Lua" in str(lua.missing(None, [module], tmp_path))
    module.touch()
    assert "not installed: the Redis library for Lua (" in str(lua.missing("/usr/sbin/nginx", [module], tmp_path))
    library.parent.mkdir()
    library.touch()
    assert lua.missing("/usr/sbin/nginx", [module], tmp_path) is None
    assert lua.redis_library(tmp_path) == "resty.redis"


def check_what_needs_no_tool(found: dict[str, Any]) -> None:
    assert {row["direction"] for row in found["transfers"] if row["target"] == "zenzefi, 64 tokens"} == {
        "download",
        "upload",
    }
    assert (found["steady"]["errors"], found["steady"]["offered"]) == (0, 25)
    assert found["idle"]["connections"] == TINY.idle_connections
    assert found["revokes"]["revokes"] == TINY.revokes
    assert 0 < found["revokes"]["p50"] <= found["revokes"]["highest"] < 10_000
    assert {row["errors"] for row in found["tls"]} == {0}
    medians = {(row["target"], row["delay_ms"]): row["p50"] for row in found["tls"]}
    # A client alone needs three round trips: for TCP, TLS 1.3 and the request. With a kept connection one is enough.
    assert medians["upstream alone", 20] >= 120
    assert medians["zenzefi", 20] >= 40


@LONG
def test_a_tiny_run_measures_everything_and_leaves_nothing_behind() -> None:
    before = set(left())
    found = bench.run(TINY)

    check_what_needs_no_tool(found)
    assert set(left()) <= before
    names = {"mitmdump", "layer without policy", "zenzefi, 64 tokens", "zenzefi, demo token"}
    if lua.missing(program("nginx")) is None:
        names.add(lua.NAME)
    if program("wrk"):
        assert names <= {row["target"] for row in found["loads"]}
        ours = [row for row in found["loads"] if row["target"].startswith("zenzefi")]
        assert all(row["per_second"] > 0 and row["errors"] == 0 for row in ours)
    assert "zenzefi, 64 tokens" in report.text(found)


@LONG
def test_a_missing_tool_is_reported_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.dev.bench.targets.program", lambda _: None)
    monkeypatch.setattr(bench, "program", lambda _: None)

    before = set(left())
    found = bench.run(TINY)

    check_what_needs_no_tool(found)
    assert set(left()) <= before
    assert [sentence.split()[0] for sentence in found["missing"]] == ["wrk", "nginx", "nginx"]
    assert found["loads"] == []
    assert {row["target"] for row in found["transfers"]} >= {"upstream alone (asyncio)", "zenzefi, 64 tokens"}

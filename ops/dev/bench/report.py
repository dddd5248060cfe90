"""Report of a benchmark: a table of the measurements, compared with the targets."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ops.dev.bench.comparison import Results, Row, compare_with_targets


def text(results: Results, before: Results | None = None) -> str:
    """Return the whole report, optionally compared with the results of an earlier run."""
    parts = [
        heading(results["machine"]),
        *(f"Left out: {sentence}" for sentence in results["missing"]),
        "",
        *_loads(results["loads"], before),
        *_transfers(results["transfers"]),
        *_steady([results[key] for key in ("steady_alone", "steady") if key in results]),
        *_revokes(results.get("revokes")),
        *_idle(results.get("idle")),
        *_tls(results.get("tls", ())),
        *_targets(compare_with_targets(results)),
    ]
    return "\n".join(parts).rstrip() + "\n"


def heading(machine: Mapping[str, Any]) -> str:
    """Return a line about the machine."""
    return (
        f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']},"
        f" Python {machine['python']}, mitmproxy {machine['mitmproxy']}; load at the start {machine['load']}"
    )


def _loads(rows: Sequence[Row], before: Results | None) -> Iterable[str]:
    if not rows:
        return []
    earlier = {_key(row): row["per_second"] for row in (before or {}).get("loads", ())}
    head = ["small reply", "workers", "connections", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors"]
    lines = []
    for row in sorted(rows, key=lambda row: (not row["keep"], row["connections"])):
        connections = str(row["connections"]) if row["keep"] else f"{row['connections']}, new each"
        line = [row["target"], str(row["workers"]), connections, f"{row['per_second']:,.0f}"]
        line += [f"{row[name]:.2f}" for name in ("p50", "p95", "p99")] + [str(row["errors"])]
        if before is not None:
            old = earlier.get(_key(row))
            line.append(f"{row['per_second'] / old - 1:+.0%}" if old else "new")
        lines.append(line)
    return [*table([*head, *(["change"] if before is not None else [])], lines), ""]


def _key(row: Row) -> tuple[Any, ...]:
    return row["target"], row["workers"], row["connections"], row["keep"]


def _transfers(rows: Sequence[Row]) -> Iterable[str]:
    head = ["one large transfer", "direction", "MiB/s", "memory added, MiB"]
    lines = [
        [row["target"], row["direction"], f"{row['mib_per_second']:,.0f}", f"{row['growth_mib']:.1f}"] for row in rows
    ]
    return [*table(head, lines), ""] if rows else []


def _steady(rows: Sequence[Row]) -> Iterable[str]:
    if not rows:
        return []
    head = ["fixed rate", "workers", "requests", "p50 ms", "p95 ms", "p99 ms", "highest ms", "errors", "added, MiB"]
    lines = [
        [
            f"{row['rate']}/s for {row['seconds']:g} s, {row['target']}",
            str(row["workers"]),
            f"{row['offered']:,}",
            *(f"{row[name]:.2f}" for name in ("p50", "p95", "p99", "highest")),
            str(row["errors"]),
            f"{row['growth_mib']:.1f}",
        ]
        for row in rows
    ]
    return [*table(head, lines), ""]


def _idle(row: Row | None) -> Iterable[str]:
    if row is None:
        return []
    return [*table(["idle connections", "KiB each"], [[str(row["connections"]), f"{row['kib_each']:.1f}"]]), ""]


def _tls(rows: Sequence[Row]) -> Iterable[str]:
    if not rows:
        return []
    head = ["a connection for each request, TLS upstream", "one-way ms", "requests", "p50 ms", "p95 ms", "errors"]
    lines = [
        [
            row["target"],
            str(row["delay_ms"]),
            str(row["offered"]),
            f"{row['p50']:.2f}",
            f"{row['p95']:.2f}",
            str(row["errors"]),
        ]
        for row in rows
    ]
    return [*table(head, lines), ""]


def _revokes(row: Row | None) -> Iterable[str]:
    if row is None:
        return []
    name = f"{row['revokes']} revocations{' under full load' if row['loaded'] else ''}, until effective at every worker"
    line = [name, str(row["workers"]), *(f"{row[key]:.1f}" for key in ("p50", "p95", "highest"))]
    return [*table(["revocation", "workers", "p50 ms", "p95 ms", "highest ms"], [line]), ""]


def _targets(found: Sequence[Row]) -> Iterable[str]:
    lines = [[row["bar"], row["wanted"], row["measured"], "met" if row["met"] else "MISSED"] for row in found]
    return table(["target", "limit", "measured", ""], lines) if lines else []


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Return an aligned table: text to the left, columns of figures to the right."""
    widths = [max(len(cells[column]) for cells in (head, *lines)) for column in range(len(head))]
    figures = [
        column > 0 and all(cells[column][:1].isdigit() or cells[column][:1] in "+-" for cells in lines)
        for column in range(len(head))
    ]

    def aligned(cells: Sequence[str]) -> str:
        pairs = zip(cells, widths, figures, strict=True)
        return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in pairs).rstrip()

    return [aligned(head), "  ".join("-" * width for width in widths), *(aligned(cells) for cells in lines)]

"""A small bar chart, written as SVG by hand."""

from collections.abc import Mapping
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT, ROW, TOP = 760, 250, 90, 30, 56
OURS, OTHERS, INK, PAPER = "#2457c5", "#9aa7bd", "#1d2433", "#ffffff"
CONNECTIONS = 32


def svg(results: Mapping[str, Any]) -> str:
    """Draw requests per second at 32 kept connections, one bar for each target."""
    rows = [row for row in results["loads"] if row["keep"] and row["connections"] == CONNECTIONS]
    highest = max((row["per_second"] for row in rows), default=0) or 1
    height = TOP + ROW * len(rows) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13" role="img">',
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
        f'<text x="16" y="26" font-size="16" font-weight="600" fill="{INK}">Requests per second, small reply,'
        f" {CONNECTIONS} connections</text>",
    ]
    for number, row in enumerate(rows):
        y, name = TOP + ROW * number, row["target"]
        length = (WIDTH - LEFT - RIGHT) * row["per_second"] / highest
        name += f", {row['workers']} workers" if row["workers"] > 1 else ""
        colour = OURS if name.startswith(("zenzefi", "layer")) else OTHERS
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end" fill="{INK}">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{ROW - 9}" rx="2" fill="{colour}"/>',
            f'<text x="{LEFT + length + 8:.1f}" y="{y + 15}" fill="{INK}">{row["per_second"]:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"

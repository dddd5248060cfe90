"""Accessibility checks: axe-core in both themes, and the size of touch targets on a narrow screen.

Every rule runs in the light theme. A theme changes colours only (tests/test_architecture.py checks that), so in the
dark theme only the rules run that depend on colours.
"""

from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Page

from ops.dev.screenshots import npm
from ops.dev.screenshots.browser import OVERFLOW, WIDTHS

BY_COLOUR = ("color-contrast", "link-in-text-block")
_RUN = """async (rules) => {
  const only = rules.length ? { runOnly: { type: "rule", values: rules } } : {};
  const found = await axe.run(document, { resultTypes: ["violations"], iframes: false, ...only });
  return found.violations.map((one) => ({
    id: one.id,
    nodes: one.nodes.slice(0, 3).map((node) => `${node.target.join(" ")}: ${node.failureSummary.split("\\n")[1]}`),
  }));
}"""
# Touch targets need 44 px; links in text and hidden elements are excluded.
_SMALL = """() => [...document.querySelectorAll("button, summary, select, input:not([type=hidden]), a.button, nav a")]
  .filter((one) => one.checkVisibility() && !one.closest("dialog, .visually-hidden, .option, .table, .snippet"))
  .map((one) => [one, one.getBoundingClientRect()])
  .filter(([one, box]) => box.height < 43.5 && !one.matches(".button-small, .skip-link, [type=radio], [type=checkbox]"))
  .map(([one, box]) => [one.tagName.toLowerCase(), one.textContent.trim().slice(0, 30), Math.round(box.height)])
  .map(([tag, words, height]) => `${tag} "${words}" is ${height} px high`)"""


def source() -> str:
    """Return axe-core's script. Raises Failure when it cannot be installed."""
    return (npm.package(*npm.AXE) / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page) -> Iterator[str]:
    """Yield each violation of a page with the script as one line. The page is left narrow and dark."""
    yield from _violations(page, "")
    if wide := page.evaluate(OVERFLOW):
        yield f"wide: {wide}"
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    yield from _violations(page, "dark: ", *BY_COLOUR)
    page.set_viewport_size({"width": WIDTHS["390"], "height": 844})
    if wide := page.evaluate(OVERFLOW):
        yield f"390 px: {wide}"
    for line in page.evaluate(_SMALL):
        yield f"390 px: {line}"


def _violations(page: Page, how: str, *rules: str) -> Iterator[str]:
    found: list[dict[str, Any]] = page.evaluate(_RUN, list(rules))
    for one in found:
        for node in one["nodes"]:
            yield f"{how}{one['id']}: {node}"

"""The pages for people, read as a test reads them: links, headings, and the commands in their blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.bootstrap import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$(\n<!-- not run: (.+?) -->)?", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMENT = re.compile(r"\s+# .*$")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a page, and why it is not run, if it says so."""

    page: Path
    language: str
    text: str
    reason: str

    @property
    def commands(self) -> list[str]:
        """Each command on a line of its own, without comments; what goes on after a backslash belongs to it."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [COMMENT.sub("", line).strip() for line in lines if line.strip() and not line.startswith("#")]


def blocks() -> Iterator[Block]:
    """Go through the blocks of every page."""
    for page in PAGES:
        for language, text, _, reason in FENCE.findall(page.read_text(encoding="utf-8")):
            yield Block(page, language, text, reason)


def prose(page: Path) -> str:
    """Return a page without its blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return what a link may name on a page, as GitHub makes it from the headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"`|\[|\]\([^)]*\)", "", heading).lower()).replace(" ", "-")
        number = sum(other == slug or other.startswith(f"{slug}-") for other in found)
        found.add(f"{slug}-{number}" if slug in found else slug)
    return found

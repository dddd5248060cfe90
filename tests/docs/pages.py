"""Parses the documentation for tests: links, headings and commands in code blocks."""

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
    """A code block of a page, and the reason if it is not run."""

    page: Path
    language: str
    text: str
    reason: str

    @property
    def commands(self) -> list[str]:
        """Return the commands, without comments; a line that ends in a backslash continues."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [COMMENT.sub("", line).strip() for line in lines if line.strip() and not line.startswith("#")]


def blocks() -> Iterator[Block]:
    """Yield the code blocks of every page."""
    for page in PAGES:
        for language, text, _, reason in FENCE.findall(page.read_text(encoding="utf-8")):
            yield Block(page, language, text, reason)


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub derives them from headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"`|\[|\]\([^)]*\)", "", heading).lower()).replace(" ", "-")
        number = sum(other == slug or other.startswith(f"{slug}-") for other in found)
        found.add(f"{slug}-{number}" if slug in found else slug)
    return found

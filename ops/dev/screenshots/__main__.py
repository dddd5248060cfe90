"""`./zenzefi shots DIR`: screenshots of every page, wide and 390 px, light and dark, and a list of defects."""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from html import escape
from itertools import product
from pathlib import Path

from models.translations import LANGUAGES
from ops.console import Failure, Step, print_error, print_line
from ops.dev.screenshots import axe, lighthouse
from ops.dev.screenshots.browser import WIDTHS, ScreenshotBrowser, Variant, open_browser
from ops.dev.screenshots.interactions import interaction_visits
from ops.dev.screenshots.pages import ROLES, PageVisit, page_visits
from ops.dev.screenshots.scratch_portal import ScratchPortal, start_scratch_portal


def main(arguments: Sequence[str]) -> int:
    """Take the screenshots; returns 1 when a defect was found."""
    options = _parse(arguments)
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        complaints = _take_screenshots(options)
    except Failure as failure:
        print_error(str(failure))
        return 2
    for line in complaints:
        print_line(f"  ! {line}")
    print_line(f"  {options.folder}/index.html shows them all.")
    return 1 if complaints else 0


def _take_screenshots(options: argparse.Namespace) -> list[str]:
    chosen = product(options.width or WIDTHS, options.theme or ("light", "dark"), options.lang or ("en",))
    pictures: list[Path] = []
    with ExitStack() as stack:
        with Step("Starting a portal with sample data"):
            set_up = stack.enter_context(start_scratch_portal())
            made = stack.enter_context(open_browser(set_up, axe.source() if options.axe else ""))
        places, complaints = select_visits(set_up, options.only)
        with Step("Screenshots") as step:
            for variant, role in product([Variant(*parts) for parts in chosen], ROLES):
                here = [place for place in places if place.role == role]
                with made.as_(role, variant) as context:
                    for place in here:
                        step.tick(f"{len(pictures)}, {variant}: {place.name}")
                        if (page := made.open(context, place, variant)) is not None:
                            pictures.append(made.shoot(page, place, variant, options.folder))
                            if options.axe and place.ours:
                                complaints += [f"{place.name}: {fault}" for fault in axe.violations(page)]
        if options.lighthouse:
            with Step("Lighthouse"):
                complaints += _low_scores(made)
    _write_index(options.folder, pictures)
    return complaints + made.complaints


def _low_scores(made: ScreenshotBrowser) -> Iterator[str]:
    for path, role in lighthouse.PAGES:
        found = lighthouse.scores(made, path, role)
        print_line(f"  {path:<20}" + "  ".join(f"{name} {score}" for name, score in found.items()))
        yield from (f"{path}: {name} {score}" for name, score in found.items() if score < lighthouse.LEAST)


def select_visits(set_up: ScratchPortal, only: str = "") -> tuple[list[PageVisit], list[str]]:
    """Return the visits whose name or path matches the pattern, and the routes that cannot be visited."""
    found, missing = page_visits(set_up.app, set_up.shop)
    found += interaction_visits(set_up.shop)
    return [place for place in found if re.search(only, f"{place.name} {place.path}")], missing


def _write_index(folder: Path, pictures: Iterable[Path]) -> None:
    figures = "\n".join(
        f'<figure><a href="{name}"><img src="{name}" width="300" alt=""></a><figcaption>{name}</figcaption></figure>'
        for name in (escape(path.name) for path in sorted(pictures))
    )
    (folder / "index.html").write_text(
        "<!doctype html><meta charset=utf-8><title>shots</title>"
        "<style>body{display:flex;flex-wrap:wrap;gap:12px;font:12px sans-serif;align-items:flex-start}"
        f"figure{{margin:0;width:300px}}img{{border:1px solid #999}}</style>\n{figures}\n",
        encoding="utf-8",
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./zenzefi shots", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the screenshots")
    parser.add_argument("--only", default="", metavar="PATTERN", help="a regular expression for names or addresses")
    parser.add_argument("--lang", action="append", choices=list(LANGUAGES), help="default: en; may be given twice")
    parser.add_argument("--width", action="append", choices=list(WIDTHS), help="default: both")
    parser.add_argument("--theme", action="append", choices=["light", "dark"], help="default: both")
    parser.add_argument("--axe", action="store_true", help="check each page with axe-core, in both themes (needs npm)")
    parser.add_argument("--lighthouse", action="store_true", help="measure the main pages (needs npm; takes minutes)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Every page of the portal in a real browser: axe-core in both themes, and a narrow screen."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from ops.console import Failure
from ops.dev.screenshots import axe
from ops.dev.screenshots.__main__ import select_visits
from ops.dev.screenshots.browser import OVERFLOW, ScreenshotBrowser, Variant
from ops.dev.screenshots.pages import ROLES, PageVisit
from ops.dev.screenshots.scratch_portal import ScratchPortal, start_scratch_portal

WIDE = Variant("wide", "light", "en")
# What only a click or a mistake leads to is judged in the long run; ./zenzefi shots DIR --axe does it at any time.
SCENES = bool(os.environ.get("ZENZEFI_SOAK"))


@pytest.fixture(scope="module")
def set_up() -> Iterator[ScratchPortal]:
    with start_scratch_portal() as made:
        yield made


@pytest.fixture(scope="module")
def before(set_up: ScratchPortal, browser: Browser) -> ScreenshotBrowser:
    """The package's own browser: a process cannot run Playwright twice."""
    try:
        return ScreenshotBrowser(browser, set_up, axe.source())
    except Failure as failure:
        pytest.fail(str(failure))


def test_no_page_has_a_defect_in_either_theme_or_at_390_px(set_up: ScratchPortal, before: ScreenshotBrowser) -> None:
    places, missing = select_visits(set_up)
    places = [place for place in places if SCENES or place.act is None]
    faults, visited = list(missing), 0
    for role in ROLES:
        with before.as_(role, WIDE) as context:
            for place in (place for place in places if place.role == role):
                if (page := before.open(context, place, WIDE)) is not None:
                    visited += 1
                    found = axe.violations(page) if place.ours else ()
                    faults += [f"{place.name}: {fault}" for fault in found]
    assert "\n".join(faults) == ""
    assert before.complaints == []
    assert visited > (140 if SCENES else 75)


def test_a_receipt_prints_on_one_page(set_up: ScratchPortal, before: ScreenshotBrowser) -> None:
    path = f"/wallet/receipts/{set_up.shop.ids['transfer_id'][0][1]}"
    with before.as_("buyer", WIDE) as context:
        page = before.open(context, PageVisit("receipt", path, "buyer"), WIDE)
        assert page is not None
        assert page.pdf(format="A4").count(b"/Type /Page\n") == 1


def test_every_defect_of_a_page_is_reported(before: ScreenshotBrowser) -> None:
    with before.as_("visitor", WIDE) as context:
        page = context.new_page()
        page.set_content('<img src="x"><p style="width:900px">wide</p><button style="height:20px">small</button>')
        found = "\n".join(axe.violations(page))
        page.set_content(
            '<main><div class="card" style="width:200px;overflow:auto"><p style="width:260px">x</p></div></main>'
        )
        assert page.evaluate(OVERFLOW) == "60 px of a table are out of its card"
    assert "image-alt" in found
    assert "px too wide" in found
    assert 'button "small" is 20 px high' in found

"""Lighthouse scores of the main pages; takes minutes, so it is optional."""

import json
import os
import shutil
import subprocess

from ops.console import Failure
from ops.dev.screenshots import npm
from ops.dev.screenshots.browser import ScreenshotBrowser, chromium
from ops.dev.screenshots.pages import Role

LEAST = 95
CATEGORIES = ("performance", "accessibility", "best-practices")
PAGES: tuple[tuple[str, Role], ...] = (("/", "visitor"), ("/dashboard", "buyer"), ("/tokens", "buyer"))


def scores(camera: ScreenshotBrowser, path: str, role: Role) -> dict[str, int]:
    """Return a page's scores out of 100, with Lighthouse's emulated phone. Raises Failure."""
    node = shutil.which("node")
    if node is None:
        raise Failure("node is needed to run Lighthouse. Debian: apt-get install nodejs npm")
    command = [
        node, str(npm.package(*npm.LIGHTHOUSE) / "cli" / "index.js"), camera.address + path, "--quiet",
        "--output=json", "--output-path=stdout", f"--only-categories={','.join(CATEGORIES)}",
        "--chrome-flags=--headless=new --no-sandbox --disable-gpu",
        f"--extra-headers={json.dumps({'Cookie': camera.cookies(role)})}",
    ]  # fmt: skip
    environment = {**os.environ, "CHROME_PATH": chromium()}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    try:
        found = json.loads(done.stdout)["categories"]
    except (ValueError, KeyError):
        raise Failure(f"Lighthouse did not finish: {(done.stderr.strip().splitlines() or ['nothing'])[-1]}") from None
    return {name: round(100 * found[name]["score"]) for name in CATEGORIES}

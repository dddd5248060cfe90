"""npm packages for checks: installed once, outside the repository, without running their scripts."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ops.console import Failure

AXE = ("axe-core", "4.14.1")
LIGHTHOUSE = ("lighthouse", "13.5.0")


def package(name: str, version: str) -> Path:
    """Return the folder of a package, installing it on first use.

    ZENZEFI_NPM names the cache folder; the default is in the user's cache. Raises Failure.
    """
    cache = Path(os.environ.get("ZENZEFI_NPM") or Path.home() / ".cache" / "zenzefi" / "npm")
    kept = cache / f"{name}-{version}"
    found = kept / "node_modules" / name
    if found.is_dir():
        return found
    npm = shutil.which("npm")
    if npm is None:
        raise Failure(f"npm is needed to fetch {name}. Debian: apt-get install nodejs npm")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", made, f"{name}@{version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise Failure(f"npm could not install {name} {version}; npm printed: {reason}")
        try:
            Path(made, "node_modules").rename(_fresh(kept) / "node_modules")
        except OSError as error:
            if not found.is_dir():  # unless another process was faster
                raise Failure(f"{name} cannot be kept in {cache}: {error.strerror}") from None
    return found


def _fresh(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder

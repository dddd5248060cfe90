"""Checks of the release, the Python version and the installed packages."""

import platform
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from ops.bootstrap import REPOSITORY
from ops.doctor.findings import Finding, Installation, Section
from ops.pythons import OLDEST

# The newest version that the tests run on; newer ones may work.
NEWEST = (3, 13)
SHOWN = 4


def examine(_installation: Installation | None) -> Iterator[Finding]:
    """Check the interpreter of this command; all processes use the same one."""
    yield Finding("Release", True, release())
    version, seen = sys.version_info[:2], platform.python_version()
    tried = OLDEST <= version <= NEWEST
    do = "Rebuild the environment with Python 3.13: remove .venv and run ./zenzefi up."
    is_old = version < OLDEST
    yield Finding("The Python version is tested", tried, seen, do, Section.PYTHON, is_urgent=is_old)
    yield packages(REPOSITORY / "requirements.txt")


def release() -> str:
    """Return the release, with the commit where this is a clone."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    try:
        git = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
        asked = subprocess.run(git, capture_output=True, text=True, check=False, timeout=2)
    except (OSError, subprocess.TimeoutExpired):
        return str(project["version"])
    commit = asked.stdout.strip() if asked.returncode == 0 else ""
    return f"{project['version']}{f' ({commit})' if commit else ''}, mitmproxy {metadata.version('mitmproxy')}"


def packages(requirements: Path) -> Finding:
    """Compare the installed packages with the file's pins for this Python."""
    pinned, strange = 0, []
    for line in requirements.read_text(encoding="utf-8").splitlines():
        pin = Requirement(line) if line[:1].isalnum() else None
        if pin is None or (pin.marker and not pin.marker.evaluate()):
            continue
        pinned += 1
        installed = _installed(pin.name)
        if installed is None or not pin.specifier.contains(installed):
            strange.append(f"{pin.name} {installed or 'missing'} instead of {pin.specifier}")
    more = f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else ""
    seen = ", ".join(strange[:SHOWN]) + more if strange else f"all {pinned}"
    do = "Install the pinned versions: .venv/bin/pip install -r requirements.txt."
    return Finding("The packages match requirements.txt", not strange, seen, do, Section.PYTHON)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

"""Jobs that are a command of `./zenzefi`: run as a person would run it, in a process of its own."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LIMIT_SECONDS = 4 * 3600


class CommandFailed(Exception):
    """What the command said last, or that it had to be ended."""


def run(module: str, *options: str) -> str:
    """Run a command with this process's settings; returns its last line. Raises CommandFailed."""
    command = [sys.executable, "-P", "-m", module, *options]
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"It was not done within {LIMIT_SECONDS / 3600:.2g} hours, and was ended.") from None
    said = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    if done.returncode:
        raise CommandFailed(said[-1] if said else f"exit code {done.returncode}")
    return said[-1] if said else ""

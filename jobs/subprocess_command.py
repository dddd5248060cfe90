"""Run a `./zenzefi` command as a subprocess of a job."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LIMIT_SECONDS = 4 * 3600


class CommandFailed(Exception):
    """The command's last line of output, or that it timed out."""


def run(module: str, *options: str) -> str:
    """Run a command with this process's settings and return its last line. Raises CommandFailed."""
    command = [sys.executable, "-P", "-m", module, *options]
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"It was not done within {LIMIT_SECONDS / 3600:.2g} hours, and was ended.") from None
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    if done.returncode:
        raise CommandFailed(lines[-1] if lines else f"exit code {done.returncode}")
    return lines[-1] if lines else ""

"""Database connections of a process that imports nothing else of ours."""

import subprocess
import sys

import pytest

from models.tables import Base


@pytest.mark.parametrize(
    "entry", ["models.database", "addon.worker", "jobs.context", "ops.launcher.first_run", "portal"]
)
def test_every_process_knows_all_tables(entry: str) -> None:
    """A foreign key to a table that was never imported fails at the first flush, in that process alone."""
    program = f"import {entry}; from models.base import Base; print(*sorted(Base.metadata.tables))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(Base.metadata.tables)

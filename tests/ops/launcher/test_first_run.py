"""Preparing an installation reports errors in one sentence."""

import subprocess
import sys

from sqlalchemy import text

from models.config.settings import Settings
from models.database import Sessions
from ops.bootstrap import REPOSITORY


def test_a_database_newer_than_the_code_is_left_unchanged_and_reported(
    committed: tuple[Settings, Sessions], environment: dict[str, str]
) -> None:
    settings, sessions = committed
    with sessions.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999_of_tomorrow'"))
    done = subprocess.run(
        [sys.executable, "-m", "ops.launcher.first_run"],
        cwd=REPOSITORY,
        env={**environment, "DATABASE_URL": settings.database.url},
        capture_output=True,
        text=True,
        check=False,
    )
    said = "The database is at revision 9999_of_tomorrow, which this version does not know: upgrade first.\n"
    assert (done.returncode, done.stderr) == (1, said)

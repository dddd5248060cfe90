"""Commands that need session state fail behind a pooler in transaction mode, and work with listen_url.

PgBouncer's feature matrix: neither LISTEN nor SET nor a session-level lock works in transaction pooling; pg_dump sets
its search path for the session, which the next client of the server connection would inherit.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import text

from models import database
from models.config.settings import Settings
from models.database import Sessions
from ops.backups import create as create_backup
from ops.backups import restore as restore_backup
from ops.bootstrap import REPOSITORY
from ops.console import Failure
from ops.doctor import databases, runner
from ops.doctor.__main__ import SUBJECTS
from ops.doctor.findings import Finding, Section
from tests.ops.doctor.helpers import installation
from tests.pgbouncer import pgbouncer

Way = Callable[..., Settings]
NOTIFIED = "Cache-invalidation messages arrive"


@pytest.fixture
def way(committed: tuple[Settings, Sessions]) -> Iterator[Way]:
    """A function that returns settings whose database is behind PgBouncer in a mode, perhaps with a listen_url."""
    settings, _ = committed
    with ExitStack() as stack:

        def choose(mode: str, *, listen_url: str = "") -> Settings:
            url = settings.database.url
            if mode != "direct":
                url = stack.enter_context(pgbouncer(url, mode))
            changed = settings.database.model_copy(update={"url": url, "listen_url": listen_url})
            return settings.model_copy(update={"database": changed})

        yield choose


def found(settings: Settings) -> Finding:
    """Return the doctor's finding about notifications."""
    engine = database.connect(settings.database)
    home = replace(installation(settings, hurried=False), sessions=database.sessions(engine))
    [finding] = [one for one in databases.examine_postgres(home) if one.what == NOTIFIED]
    engine.dispose()
    return finding


def test_the_doctor_reports_a_pooler_and_the_setting_that_it_needs(
    way: Way, committed: tuple[Settings, Sessions], make_database: Callable[[], str]
) -> None:
    server = committed[0].database.url
    assert (found(way("direct")).is_well, found(way("direct")).seen) == (True, "directly")
    assert (found(way("session")).is_well, found(way("session")).seen) == (True, "through a pooler that keeps sessions")
    bad = found(way("transaction"))
    assert (bad.is_well, bad.seen, bad.see) == (False, "a pooler drops them", Section.POOLERS)
    assert "listen_url" in bad.do
    good = found(way("transaction", listen_url=server))
    assert (good.is_well, good.seen) == (True, "directly, while all else goes through a pooler")
    other = found(way("transaction", listen_url=make_database()))
    assert (other.is_well, other.seen) == (False, "they arrive at another database")


def test_the_doctor_reports_connection_limits_that_have_no_effect(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_SET", "SELECT set_config('timezone', 'UTC', %(is_local)s)")
    settings = way("direct")
    engine = database.connect(settings.database)
    home = replace(installation(settings, hurried=False), sessions=database.sessions(engine))
    [subject] = [one for one in SUBJECTS if one.name == "postgresql"]
    [finding] = [finding for _, finding in runner.findings([subject], home)]
    assert (finding.is_well, finding.see) == (False, Section.POOLERS)
    assert "statement_timeout is 0 instead of 15000" in finding.seen
    engine.dispose()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_new_installation_is_migrated_through_a_pooler(way: Way, environment: dict[str, str], mode: str) -> None:
    settings = way(mode)
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environment}
    variables |= {"DATABASE_URL": settings.database.url, "ZENZEFI_ADMIN__PASSWORD": "a password for the admin"}
    done = subprocess.run(
        [sys.executable, "-m", "ops.launcher.first_run"],
        cwd=REPOSITORY,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if mode == "session":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert "Set [database] listen_url to the address of PostgreSQL itself." in done.stderr


def test_a_backup_uses_listen_url_and_rejects_a_pooler_in_transaction_mode(
    way: Way, committed: tuple[Settings, Sessions], redis: Redis, tmp_path: Path
) -> None:
    with pytest.raises(Failure, match="listen_url"):
        create_backup.create(way("transaction"), tmp_path)
    settings = way("transaction", listen_url=committed[0].database.url)
    manifest = create_backup.create(settings, tmp_path)
    engine = database.connect(settings.database)
    with engine.connect() as connection:
        for _ in range(5):
            assert "public" in str(connection.scalar(text("SHOW search_path")))
            connection.rollback()
    engine.dispose()
    restored = restore_backup.drill(settings, tmp_path / manifest.file, identities=None)
    assert restored.report.is_sound

"""Fixtures and helpers for tests of backups and restores."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import select, text

from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.database import Sessions
from ops.backups import manifest
from ops.commands import backup
from tests.factories import buy, engine_of, person

Shop = tuple[Settings, Sessions]


@pytest.fixture
def shop(committed: Shop, environment: dict[str, str], redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A shop that has sold a token, found by the environment."""
    for name, value in {**environment, "DATABASE_URL": committed[0].database.url}.items():
        monkeypatch.setenv(name, value)
    alice = person(committed[1], "alice", balance="100")
    with committed[1].begin() as session:
        buy(session, alice, committed[0])
    yield committed
    engine_of(committed[1]).dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def make(folder: Path) -> Path:
    """Write a backup by the command and return its dump."""
    assert backup.main(["--out", str(folder)]) == 0
    return folder / manifest.list_backups(folder)[0].file


def tokens(sessions: Sessions) -> int:
    with sessions.begin() as session:
        return len(list(session.scalars(select(AccessToken.id))))


def databases(sessions: Sessions) -> set[str]:
    """Return the server's databases that belong to the test's."""
    with sessions.begin() as session:
        own = session.scalar(text("SELECT current_database()"))
        return set(
            session.scalars(text("SELECT datname FROM pg_database WHERE starts_with(datname, :own)"), {"own": own})
        )


def change_the_manifest(dump: Path, **facts: object) -> None:
    path = manifest.manifest_of(dump)
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))

"""Restoring backups: into a destroyed database, as a drill, and rejected when invalid."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyrage
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import text

from models import clock
from models.config.settings import Settings
from ops.backups import manifest
from ops.backups import restore as restore_backup
from ops.bootstrap import REPOSITORY
from ops.commands import restore
from tests.factories import assert_sound, buy, engine_of, person
from tests.ops.backups.helpers import Shop, change_the_manifest, databases, folder, make, shop, tokens

__all__ = ["folder", "shop"]  # the fixtures


def test_a_destroyed_database_is_restored_with_its_ledger(shop: Shop, folder: Path, redis: Redis) -> None:
    dump = make(folder)
    own = databases(shop[1])
    with shop[1].begin() as session:
        buy(session, person(shop[1], "bob", balance="100"), shop[0])
    with shop[1].begin() as session:
        session.execute(text("DROP TABLE transfers, token_pauses CASCADE"))
    redis.set("zenzefi:token:sold-after-the-backup", "x")
    redis.set("somebody-elses", "x")

    assert restore.main([str(dump), "--yes"]) == 0

    assert tokens(shop[1]) == 1
    assert_sound(shop[1])
    assert databases(shop[1]) == own
    assert redis.keys() == [b"somebody-elses"]


def test_the_database_that_is_replaced_can_be_kept(
    shop: Shop, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = make(folder)
    before = databases(shop[1])
    assert restore.main([str(dump), "--yes", "--keep-old"]) == 0
    [kept] = databases(shop[1]) - before
    assert f"is kept as {kept}." in capsys.readouterr().out


def test_a_drill_reports_and_changes_nothing(shop: Shop, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = make(folder)
    before = databases(shop[1])
    with shop[1].begin() as session:
        buy(session, person(shop[1], "bob", balance="100"), shop[0])
    assert restore.main([str(dump), "--drill"]) == 0
    said = capsys.readouterr().out
    assert "2 transfers; ledger verification passed" in said
    assert "nothing was changed" in said
    assert tokens(shop[1]) == 2
    assert databases(shop[1]) == before


def test_nothing_is_replaced_without_confirmation(shop: Shop, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore.main([str(make(folder))]) == 1
    assert "Confirm with --yes" in capsys.readouterr().err


def spoil(dump: Path) -> str:
    with dump.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")
    return "is not the file that"


def lose_the_manifest(dump: Path) -> str:
    manifest.manifest_of(dump).unlink()
    return "its contents cannot be checked"


def promise_more(dump: Path) -> str:
    change_the_manifest(dump, transfers=3)
    return "The backup holds 2 transfers; its manifest says 3."


def come_from_the_future(dump: Path) -> str:
    change_the_manifest(dump, revisions=["9999"])
    return "this version does not know: upgrade first"


def be_no_dump(dump: Path) -> str:
    dump.write_bytes(b"no dump at all" * 100_000)
    change_the_manifest(dump, sha256=hashlib.sha256(dump.read_bytes()).hexdigest())
    return "pg_restore failed"


@pytest.mark.parametrize("harm", [spoil, lose_the_manifest, promise_more, come_from_the_future, be_no_dump])
def test_an_invalid_backup_replaces_nothing(
    harm: Callable[[Path], str], shop: Shop, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = make(folder)
    before = databases(shop[1])
    reason = harm(dump)
    assert restore.main([str(dump), "--yes"]) == 1
    assert reason in capsys.readouterr().err
    assert tokens(shop[1]) == 1
    assert databases(shop[1]) == before


def test_an_encrypted_backup_is_restored_with_its_private_key_only(
    shop: Shop, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    monkeypatch.setenv("ZENZEFI_BACKUP__AGE_RECIPIENTS", json.dumps([str(right.to_public())]))
    dump = make(folder)
    assert dump.read_bytes().startswith(b"age-encryption.org/v1")
    assert b"PGDMP" not in dump.read_bytes()
    key = tmp_path / "key.txt"

    assert restore.main([str(dump), "--drill"]) == 1
    assert "name the file with the private key" in capsys.readouterr().err
    key.write_text(f"# made by a test\n{wrong}\n")
    assert restore.main([str(dump), "--drill", "--identity", str(key)]) == 1
    assert "cannot be decrypted" in capsys.readouterr().err
    key.write_text(f"{right}\n")
    assert restore.main([str(dump), "--yes", "--identity", str(key)]) == 0
    assert tokens(shop[1]) == 1


def test_a_key_file_without_a_private_key_is_reported(
    shop: Shop, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    public = str(pyrage.x25519.Identity.generate().to_public())
    monkeypatch.setenv("ZENZEFI_BACKUP__AGE_RECIPIENTS", json.dumps([public]))
    dump, key = make(folder), tmp_path / "key.txt"
    key.write_text("# only a comment\n")
    assert restore.main([str(dump), "--drill", "--identity", str(key)]) == 1
    assert f"{key} holds no age private key." in capsys.readouterr().err


def test_a_restore_that_cannot_reach_redis_leaves_the_database(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dump, before = make(folder), databases(shop[1])
    capsys.readouterr()
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert restore.main([str(dump), "--yes"]) == 1
    told = capsys.readouterr()
    assert "Restoring" not in told.out
    assert "The restore failed" in told.err
    assert databases(shop[1]) == before


def test_a_redis_failure_during_a_restore_brings_the_old_database_back(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dump, before = make(folder), databases(shop[1])
    with shop[1].begin() as session:
        session.execute(text("CREATE TABLE after_the_backup ()"))

    def fail(_: Settings) -> None:
        raise RedisConnectionError("Connection refused.")

    monkeypatch.setattr(restore_backup, "delete_cached_keys", fail)
    assert restore.main([str(dump), "--yes"]) == 1
    assert "The restore failed: Connection refused." in capsys.readouterr().err
    assert databases(shop[1]) == before
    with shop[1].begin() as session:
        session.execute(text("SELECT FROM after_the_backup"))


def test_an_ended_drill_drops_its_scratch_database_and_those_of_killed_drills(shop: Shop, folder: Path) -> None:
    dump, [own] = make(folder), databases(shop[1])
    with engine_of(shop[1]).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Of a run that was killed, of one under way, and somebody's own.
        old, new = (f"{own}_restore_{clock.now() - timedelta(days):%Y%m%d%H%M%S}_7" for days in (2, 0))
        left = {old, new, f"{own}_restore_me"}
        for name in left:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
    drill = subprocess.Popen([sys.executable, "-m", "ops.commands.restore", str(dump), "--drill"], cwd=REPOSITORY)
    try:
        while drill.poll() is None and databases(shop[1]) <= left | {own}:
            time.sleep(0.01)
        drill.terminate()
        assert drill.wait(30) == 1
    finally:
        drill.kill()
    assert databases(shop[1]) == left - {old} | {own}
    for name in left - {old}:
        with engine_of(shop[1]).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f'DROP DATABASE "{name}"'))


def test_other_failures_of_a_restore_are_not_reported_as_a_wrong_key(
    shop: Shop, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = pyrage.x25519.Identity.generate()
    monkeypatch.setenv("ZENZEFI_BACKUP__AGE_RECIPIENTS", json.dumps([str(identity.to_public())]))
    dump, key = make(folder), tmp_path / "key.txt"
    dump.write_bytes(pyrage.encrypt(b"no dump" * 100_000, [identity.to_public()]))
    change_the_manifest(dump, sha256=hashlib.sha256(dump.read_bytes()).hexdigest())
    key.write_text(f"{identity}\n")
    assert restore.main([str(dump), "--drill", "--identity", str(key)]) == 1
    assert "pg_restore failed: pg_restore: error: input file does not appear to be" in capsys.readouterr().err

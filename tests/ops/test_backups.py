"""Backups of a real database: made, tried, restored after it was destroyed, and refused when they are no good."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import pyrage
import pytest
from moto import mock_aws
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import select, text

from jobs import backups as job
from jobs import commands, queues, runtime
from models import clock
from models.config import Settings
from models.database import Sessions
from models.outbox import OutboxMail
from models.tokens import AccessToken
from ops import backup, restore
from ops.backups import archive, making, restoring
from ops.backups.offsite import Bucket
from ops.bootstrap import REPOSITORY
from ops.console import Failure
from tests.support import assert_sound, buy, engine_of, person

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
    return folder / archive.present(folder)[0].file


def tokens(sessions: Sessions) -> int:
    with sessions.begin() as session:
        return len(list(session.scalars(select(AccessToken.id))))


def databases(sessions: Sessions) -> set[str]:
    """Name the databases of the server that belong to this test's."""
    with sessions.begin() as session:
        own = session.scalar(text("SELECT current_database()"))
        return set(
            session.scalars(text("SELECT datname FROM pg_database WHERE starts_with(datname, :own)"), {"own": own})
        )


def test_a_destroyed_database_is_restored_with_its_books(shop: Shop, folder: Path, redis: Redis) -> None:
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
    assert "2 transfers; the books add up" in said
    assert "nothing was changed" in said
    assert tokens(shop[1]) == 2
    assert databases(shop[1]) == before


def test_nothing_is_replaced_without_a_word(shop: Shop, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore.main([str(make(folder))]) == 1
    assert "Say --yes" in capsys.readouterr().err


def spoil(dump: Path) -> str:
    with dump.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")
    return "is not the file that"


def lose_the_manifest(dump: Path) -> str:
    archive.manifest_of(dump).unlink()
    return "nothing says what it must contain"


def change_the_manifest(dump: Path, **facts: object) -> None:
    path = archive.manifest_of(dump)
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def promise_more(dump: Path) -> str:
    change_the_manifest(dump, transfers=3)
    return "The backup holds 2 transfers; its manifest says 3."


def come_from_the_future(dump: Path) -> str:
    change_the_manifest(dump, revisions=["9999"])
    return "this version does not know: upgrade first"


def be_no_dump(dump: Path) -> str:
    dump.write_bytes(b"no dump at all" * 100_000)
    change_the_manifest(dump, sha256=hashlib.sha256(dump.read_bytes()).hexdigest())
    return "pg_restore gave up"


@pytest.mark.parametrize("harm", [spoil, lose_the_manifest, promise_more, come_from_the_future, be_no_dump])
def test_a_backup_that_is_no_good_replaces_nothing(
    harm: Callable[[Path], str], shop: Shop, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = make(folder)
    before = databases(shop[1])
    reason = harm(dump)
    assert restore.main([str(dump), "--yes"]) == 1
    assert reason in capsys.readouterr().err
    assert tokens(shop[1]) == 1
    assert databases(shop[1]) == before


def test_an_encrypted_backup_opens_with_its_private_key_alone(
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


def test_a_file_without_a_private_key_is_named(
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
    assert "The restore cannot go on" in told.err
    assert databases(shop[1]) == before


def test_a_redis_that_goes_during_a_restore_takes_the_old_database_back(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dump, before = make(folder), databases(shop[1])
    with shop[1].begin() as session:
        session.execute(text("CREATE TABLE after_the_backup ()"))

    def fail(_: Settings) -> None:
        raise RedisConnectionError("Connection refused.")

    monkeypatch.setattr(restoring, "forget_cached", fail)
    assert restore.main([str(dump), "--yes"]) == 1
    assert "The restore cannot go on: Connection refused." in capsys.readouterr().err
    assert databases(shop[1]) == before
    with shop[1].begin() as session:
        session.execute(text("SELECT FROM after_the_backup"))


def test_a_drill_that_is_ended_drops_its_scratch_database_and_those_of_killed_ones(shop: Shop, folder: Path) -> None:
    dump, [own] = make(folder), databases(shop[1])
    with engine_of(shop[1]).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Of a run that was killed, of one under way, and somebody's own.
        old, new = (f"{own}_restore_{clock.now() - timedelta(days):%Y%m%d%H%M%S}_7" for days in (2, 0))
        left = {old, new, f"{own}_restore_me"}
        for name in left:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
    drill = subprocess.Popen([sys.executable, "-m", "ops.restore", str(dump), "--drill"], cwd=REPOSITORY)
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


def test_a_wrong_public_key_is_named_before_anything_is_written(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZENZEFI_BACKUP__AGE_RECIPIENTS", '["age1nonsense"]')
    assert backup.main(["--out", str(folder)]) == 1
    assert "backup.age_recipients: 'age1nonsense' is no age public key" in capsys.readouterr().err
    assert not folder.exists()


def test_a_backup_that_fails_leaves_no_half(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(making, "_copy", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert backup.main(["--out", str(folder)]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_disk_that_fills_up_is_named_and_keeps_no_half(
    encrypted: bool, shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if encrypted:
        public = str(pyrage.x25519.Identity.generate().to_public())
        monkeypatch.setenv("ZENZEFI_BACKUP__AGE_RECIPIENTS", json.dumps([public]))
    command = [sys.executable, "-m", "ops.backup", "--out", str(folder)]
    bounded = ["prlimit", "--fsize=20000", *command]  # bytes, of any file
    done = subprocess.run(bounded, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"The backup cannot be written to {folder}: File too large."]
    assert list(folder.iterdir()) == []


def test_what_stopped_a_restore_is_not_taken_for_a_wrong_key(
    shop: Shop, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = pyrage.x25519.Identity.generate()
    monkeypatch.setenv("ZENZEFI_BACKUP__AGE_RECIPIENTS", json.dumps([str(identity.to_public())]))
    dump, key = make(folder), tmp_path / "key.txt"
    dump.write_bytes(pyrage.encrypt(b"no dump" * 100_000, [identity.to_public()]))
    change_the_manifest(dump, sha256=hashlib.sha256(dump.read_bytes()).hexdigest())
    key.write_text(f"{identity}\n")
    assert restore.main([str(dump), "--drill", "--identity", str(key)]) == 1
    assert "pg_restore gave up: pg_restore: error: input file does not appear to be" in capsys.readouterr().err


def test_a_disk_that_is_full_before_the_manifest_leaves_no_half(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.Manifest, "write", fail)
    assert backup.main(["--out", str(folder)]) == 1
    assert f"The backup cannot be written to {folder}: No space left on device." in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_halves_that_killed_runs_left_are_removed_and_those_under_way_are_not(shop: Shop, folder: Path) -> None:
    folder.mkdir()
    left, under_way = folder / "zenzefi-1.dump.partial", folder / "zenzefi-2.dump.partial"
    for half in (left, under_way):
        half.write_bytes(b"half of a dump")
    long_ago = time.time() - 2 * 86400
    os.utime(left, (long_ago, long_ago))
    make(folder)
    assert not left.exists()
    assert under_way.exists()


def test_a_database_that_does_not_answer_is_one_sentence(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert backup.main(["--out", str(folder)]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("The database cannot be backed up: connection to server at")
    assert list(folder.iterdir()) == []


def test_a_place_that_is_no_folder_is_one_sentence(
    shop: Shop, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("a file where the folder should be")
    assert backup.main(["--out", str(folder)]) == 1
    assert f"{folder} cannot be the folder of the backups: File exists." in capsys.readouterr().err


def test_files_are_their_owners_alone_and_the_password_is_in_no_command(shop: Shop, folder: Path) -> None:
    make(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def age(dump: Path, days: int) -> Path:
    """Let a backup have been made so long ago."""
    moment = clock.now() - timedelta(days=days)
    moved = dump.with_name(f"zenzefi-{days}-days.dump")
    change_the_manifest(dump, made_at=moment.isoformat(), file=moved.name)
    archive.manifest_of(dump).rename(archive.manifest_of(moved))
    return dump.rename(moved)


def test_old_backups_are_removed_and_the_newest_never(shop: Shop, folder: Path) -> None:
    age(make(folder), 31)
    assert archive.outdated(archive.present(folder), 30) == []
    recent = age(make(folder), 29)
    assert [manifest.file for manifest in archive.present(folder)] == [recent.name]
    newest = make(folder)
    assert [manifest.file for manifest in archive.present(folder)] == [newest.name, recent.name]


@mock_aws
def test_a_copy_goes_to_the_bucket_and_comes_back(
    shop: Shop, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"BUCKET": "away", "PREFIX": "shop", "ACCESS_KEY": "key", "SECRET_KEY": "s" * 40}.items():
        monkeypatch.setenv(f"ZENZEFI_BACKUP__S3_{name}", value)
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="away")
    age(make(folder), 40)
    old = folder / "zenzefi-40-days.dump"
    with backup.reachable(tmp_path / "none") as settings:
        Bucket(settings).send(folder, archive.checked(old))
    dump = make(folder)
    kept = boto3.client("s3", region_name="us-east-1").list_objects_v2(Bucket="away")["Contents"]
    # The old copy is gone, and so is the one under the name that it had when it was new.
    assert {item["Key"] for item in kept} >= {f"shop/{dump.name}", f"shop/{archive.manifest_of(dump).name}"}
    assert not any("40-days" in item["Key"] for item in kept)
    dump.unlink()
    # A container's /tmp lies in its memory, and no shop fits into it.
    monkeypatch.setattr(tempfile, "tempdir", "/proc/there-is-no-room")
    monkeypatch.setenv("ZENZEFI_BACKUP__FOLDER", str(folder))
    assert restore.main([dump.name, "--from-bucket", "--yes"]) == 0
    assert not [each for each in folder.iterdir() if each.is_dir()]
    assert tokens(shop[1]) == 1


@mock_aws
def test_a_bucket_that_refuses_is_a_failure_and_the_backup_stays(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZENZEFI_BACKUP__S3_BUCKET", "nowhere")
    monkeypatch.setenv("ZENZEFI_BACKUP__S3_ACCESS_KEY", "key")
    monkeypatch.setenv("ZENZEFI_BACKUP__S3_SECRET_KEY", "s" * 40)
    assert backup.main(["--out", str(folder)]) == 1
    assert "could not be sent to nowhere" in capsys.readouterr().err
    assert len(archive.present(folder)) == 1


@pytest.fixture
def nightly(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The job's own runtime, on this test's database."""
    cached = (runtime.settings_at_start, runtime.sessions, queues.queue)
    for function in cached:
        function.cache_clear()
    yield shop
    for function in cached:
        function.cache_clear()


def test_the_nightly_job_makes_one(nightly: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert job.make().startswith("off")
    runtime.settings_at_start.cache_clear()
    monkeypatch.setenv("ZENZEFI_BACKUP__FOLDER", str(folder))
    assert json.loads(job.make())["transfers"] == 2
    assert len(archive.present(folder)) == 1


def test_a_night_without_a_backup_is_told_to_every_admin(
    nightly: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person(nightly[1], "dana", is_superuser=True)
    folder.write_text("a file where the folder should be")
    monkeypatch.setenv("ZENZEFI_BACKUP__FOLDER", str(folder))
    for _ in range(2):
        with pytest.raises(job.BackupFailed):
            job.make()
    with nightly[1].begin() as session:
        [mail] = session.scalars(select(OutboxMail).where(OutboxMail.kind == "backup_failed"))
        assert mail.recipient == "dana@example.test"


def test_a_backup_that_never_ends_is_ended_and_told(
    nightly: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person(nightly[1], "dana", is_superuser=True)
    monkeypatch.setenv("ZENZEFI_BACKUP__FOLDER", str(folder))
    monkeypatch.setattr(commands, "LIMIT_SECONDS", 0.01)
    with pytest.raises(job.BackupFailed, match="not done within"):
        job.make()
    with nightly[1].begin() as session:
        [mail] = session.scalars(select(OutboxMail).where(OutboxMail.kind == "backup_failed"))
        assert "not done within" in mail.context["reason"]


def test_a_manifest_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zenzefi-1.dump").write_bytes(b"")
    (tmp_path / "zenzefi-1.json").write_text('["no manifest"]')
    with pytest.raises(Failure, match="cannot be read as the manifest"):
        archive.checked(tmp_path / "zenzefi-1.dump")
    assert archive.present(tmp_path) == []

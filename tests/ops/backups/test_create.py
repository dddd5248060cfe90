"""Backups of a real database: creation, upload, retention, and notification of a missing one."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import pyrage
import pytest
from moto import mock_aws
from sqlalchemy import select

from jobs import backups as job
from jobs import context, queues, subprocess_command
from models import clock
from models.outbox import OutboxMail
from ops.backups import create as create_backup
from ops.backups import manifest as backup_manifest
from ops.backups.s3 import Bucket
from ops.bootstrap import REPOSITORY
from ops.commands import backup, restore
from ops.console import Failure
from tests.factories import person
from tests.ops.backups.helpers import Shop, change_the_manifest, folder, make, shop, tokens

__all__ = ["folder", "shop"]  # the fixtures


def test_an_invalid_public_key_is_reported_before_anything_is_written(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZENZEFI_BACKUP__AGE_RECIPIENTS", '["age1nonsense"]')
    assert backup.main(["--out", str(folder)]) == 1
    assert "backup.age_recipients: 'age1nonsense' is not an age public key" in capsys.readouterr().err
    assert not folder.exists()


def test_a_failed_backup_leaves_no_partial_files(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        create_backup, "_copy", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    assert backup.main(["--out", str(folder)]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_disk_that_fills_up_is_reported_and_leaves_no_partial_files(
    encrypted: bool, shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if encrypted:
        public = str(pyrage.x25519.Identity.generate().to_public())
        monkeypatch.setenv("ZENZEFI_BACKUP__AGE_RECIPIENTS", json.dumps([public]))
    command = [sys.executable, "-m", "ops.commands.backup", "--out", str(folder)]
    bounded = ["prlimit", "--fsize=20000", *command]  # bytes, of any file
    done = subprocess.run(bounded, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"The backup cannot be written to {folder}: File too large."]
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_full_before_the_manifest_leaves_no_partial_files(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_manifest.Manifest, "write", fail)
    assert backup.main(["--out", str(folder)]) == 1
    assert f"The backup cannot be written to {folder}: No space left on device." in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_partial_files_of_killed_runs_are_removed_and_those_of_running_ones_are_kept(shop: Shop, folder: Path) -> None:
    folder.mkdir()
    left, under_way = folder / "zenzefi-1.dump.partial", folder / "zenzefi-2.dump.partial"
    for half in (left, under_way):
        half.write_bytes(b"half of a dump")
    long_ago = time.time() - 2 * 86400
    os.utime(left, (long_ago, long_ago))
    make(folder)
    assert not left.exists()
    assert under_way.exists()


def test_an_unreachable_database_is_reported_in_one_sentence(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert backup.main(["--out", str(folder)]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("The database that DATABASE_URL names cannot be used: connection to server at")
    assert list(folder.iterdir()) == []


def test_a_destination_that_is_not_a_folder_is_reported_in_one_sentence(
    shop: Shop, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("a file where the folder should be")
    assert backup.main(["--out", str(folder)]) == 1
    assert f"Backups cannot be kept in {folder}: File exists." in capsys.readouterr().err


def test_files_are_private_and_the_password_is_on_no_command_line(shop: Shop, folder: Path) -> None:
    make(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def age(dump: Path, days: int) -> Path:
    """Make a backup look as old as that."""
    moment = clock.now() - timedelta(days=days)
    moved = dump.with_name(f"zenzefi-{days}-days.dump")
    change_the_manifest(dump, made_at=moment.isoformat(), file=moved.name)
    backup_manifest.manifest_of(dump).rename(backup_manifest.manifest_of(moved))
    return dump.rename(moved)


def test_old_backups_are_removed_and_the_newest_is_kept(shop: Shop, folder: Path) -> None:
    age(make(folder), 31)
    assert backup_manifest.outdated(backup_manifest.list_backups(folder), 30) == []
    recent = age(make(folder), 29)
    assert [manifest.file for manifest in backup_manifest.list_backups(folder)] == [recent.name]
    newest = make(folder)
    assert [manifest.file for manifest in backup_manifest.list_backups(folder)] == [newest.name, recent.name]


@mock_aws
def test_a_copy_is_uploaded_to_the_bucket_and_can_be_restored(
    shop: Shop, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"BUCKET": "away", "PREFIX": "shop", "ACCESS_KEY": "key", "SECRET_KEY": "s" * 40}.items():
        monkeypatch.setenv(f"ZENZEFI_BACKUP__S3_{name}", value)
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="away")
    age(make(folder), 40)
    old = folder / "zenzefi-40-days.dump"
    with backup.connected_installation(tmp_path / "none") as settings:
        Bucket(settings).send(folder, backup_manifest.verify_file(old))
    dump = make(folder)
    kept = boto3.client("s3", region_name="us-east-1").list_objects_v2(Bucket="away")["Contents"]
    # The old copy is gone, and so is the one under the name that it had when it was new.
    assert {item["Key"] for item in kept} >= {f"shop/{dump.name}", f"shop/{backup_manifest.manifest_of(dump).name}"}
    assert not any("40-days" in item["Key"] for item in kept)
    dump.unlink()
    # A container's /tmp lies in its memory, and no shop fits into it.
    monkeypatch.setattr(tempfile, "tempdir", "/proc/there-is-no-room")
    monkeypatch.setenv("ZENZEFI_BACKUP__FOLDER", str(folder))
    assert restore.main([dump.name, "--from-bucket", "--yes"]) == 0
    assert not [each for each in folder.iterdir() if each.is_dir()]
    assert tokens(shop[1]) == 1


@mock_aws
def test_a_failed_upload_is_a_failure_and_the_local_backup_stays(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZENZEFI_BACKUP__S3_BUCKET", "nowhere")
    monkeypatch.setenv("ZENZEFI_BACKUP__S3_ACCESS_KEY", "key")
    monkeypatch.setenv("ZENZEFI_BACKUP__S3_SECRET_KEY", "s" * 40)
    assert backup.main(["--out", str(folder)]) == 1
    assert "could not be sent to nowhere" in capsys.readouterr().err
    assert len(backup_manifest.list_backups(folder)) == 1


@pytest.fixture
def nightly(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The job's runtime on the test's database."""
    cached = (context.settings_at_start, context.sessions, queues.queue)
    for function in cached:
        function.cache_clear()
    yield shop
    for function in cached:
        function.cache_clear()


def test_the_nightly_job_makes_a_backup(nightly: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert job.create().startswith("off")
    context.settings_at_start.cache_clear()
    monkeypatch.setenv("ZENZEFI_BACKUP__FOLDER", str(folder))
    assert json.loads(job.create())["transfers"] == 2
    assert len(backup_manifest.list_backups(folder)) == 1


def test_every_admin_is_notified_of_a_missing_nightly_backup(
    nightly: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person(nightly[1], "dana", is_superuser=True)
    folder.write_text("a file where the folder should be")
    monkeypatch.setenv("ZENZEFI_BACKUP__FOLDER", str(folder))
    for _ in range(2):
        with pytest.raises(job.BackupFailed):
            job.create()
    with nightly[1].begin() as session:
        [mail] = session.scalars(select(OutboxMail).where(OutboxMail.kind == "backup_failed"))
        assert mail.recipient == "dana@example.test"


def test_a_hanging_backup_is_ended_and_reported(nightly: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    person(nightly[1], "dana", is_superuser=True)
    monkeypatch.setenv("ZENZEFI_BACKUP__FOLDER", str(folder))
    monkeypatch.setattr(subprocess_command, "LIMIT_SECONDS", 0.01)
    with pytest.raises(job.BackupFailed, match="not done within"):
        job.create()
    with nightly[1].begin() as session:
        [mail] = session.scalars(select(OutboxMail).where(OutboxMail.kind == "backup_failed"))
        assert "not done within" in mail.context["reason"]


def test_a_manifest_of_another_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "zenzefi-1.dump").write_bytes(b"")
    (tmp_path / "zenzefi-1.json").write_text('["no manifest"]')
    with pytest.raises(Failure, match="cannot be read as the manifest"):
        backup_manifest.verify_file(tmp_path / "zenzefi-1.dump")
    assert backup_manifest.list_backups(tmp_path) == []

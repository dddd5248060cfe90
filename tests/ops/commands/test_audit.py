"""`./zenzefi audit`: verification, export and deletion of old rows, also after crashes."""

import gzip
import hashlib
import json
from pathlib import Path

import boto3
import pyrage
import pytest
from moto import mock_aws
from sqlalchemy import func, select, text

from models.audit import AuditEntry
from models.audit_chain import AuditArchive, AuditCheck
from models.config.settings import Settings
from models.database import Sessions
from models.services.audit import hash_chain
from ops.backups.chain_heads import ChainHeads
from ops.commands import audit
from ops.console import Failure
from tests.factories import Crash, crash_after, engine_of, person

OLD = 5
Shop = tuple[Settings, Sessions]


@pytest.fixture
def shop(committed: Shop, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A chained log with five rows that are old enough for deletion and three that are not, set in the environment."""
    settings, sessions = committed
    folder = {"ZENZEFI_BACKUP__FOLDER": str(tmp_path)}
    for name, value in {**environment, **folder, "DATABASE_URL": settings.database.url}.items():
        monkeypatch.setenv(name, value)
    old = "INSERT INTO audit_entries (created_at, action, resource_type, ip_address, origin)"
    with sessions.begin() as session:
        for day in range(OLD):
            session.execute(
                text(f"{old} VALUES (now() - make_interval(days => :day), 'job.changed', 'job', '192.0.2.1', 'page')"),
                {"day": 40 - day},
            )
    for name in ("alice", "bob", "charlie"):
        person(sessions, name)
    with sessions.begin() as session:
        assert hash_chain.chain_new_rows(session, hash_chain.key_of(settings.tokens)) == OLD + 3
    return committed


def left(sessions: Sessions) -> tuple[int, int]:
    """Return the number of rows of the log and of recorded exports."""
    with sessions.begin() as session:
        count = session.scalar(select(func.count()).select_from(AuditEntry))
        return count or 0, session.scalar(select(func.count()).select_from(AuditArchive)) or 0


def test_an_intact_log_is_reported_in_one_line_and_an_altered_one_by_its_first_altered_row(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(["verify", "--note"]) == 0
    assert "The audit log is valid up to row 8: 8 rows, 0 exports before them, 0 rows not chained yet" in (
        capsys.readouterr().out
    )
    assert set(ChainHeads(tmp_path).known()) == {8}
    with shop[1].begin() as session:
        session.execute(text("ALTER TABLE audit_entries DISABLE TRIGGER USER"))
        session.execute(text("UPDATE audit_entries SET ip_address = '192.0.2.9' WHERE id = 6"))
    assert audit.main(["verify", "--note"]) == 1
    assert "verification FAILED: row 6 (id 6) was altered after it was chained." in capsys.readouterr().err
    with shop[1].begin() as session:
        checks = session.scalars(select(AuditCheck).order_by(AuditCheck.id)).all()
        assert [(check.number, check.is_sound) for check in checks] == [(8, True), (5, False)]
    assert audit.main(["archive"]) == 0
    assert left(shop[1]) == (3, 1), "what is in order may go; the row that was altered stays"


def test_old_rows_are_exported_then_removed_and_verification_continues_across_the_gap(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [audit.main(["archive"]) for _ in range(2)] == [0, 0]
    assert left(shop[1]) == (3, 1)
    file = tmp_path / "audit-000000000001-000000000005.jsonl.gz"
    first, *rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert first == {"format": "zenzefi audit 1", "first": 1, "anchor": "00" * 32}
    assert [(row["number"], row["entry"]["ip_address"]) for row in rows] == [
        (n, "192.0.2.1") for n in range(1, OLD + 1)
    ]
    assert file.stat().st_mode & 0o777 == 0o600
    capsys.readouterr()
    assert audit.main(["verify"]) == 0
    assert "is valid up to row 8: 3 rows, 1 exports before them" in capsys.readouterr().out
    assert audit.main(["verify", "--file", str(file)]) == 0
    assert f"is valid up to row 5; head {rows[-1]['hash']}" in capsys.readouterr().out
    assert audit.main(["export", str(tmp_path / "rest")]) == 0
    assert audit.main(["verify", "--file", str(tmp_path / "rest.jsonl.gz")]) == 0


def test_an_altered_export_is_detected_even_with_a_matching_checksum(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(["archive"]) == 0
    file = tmp_path / "audit-000000000001-000000000005.jsonl.gz"
    manifest = file.with_name("audit-000000000001-000000000005.json")
    whole = gzip.decompress(file.read_bytes())
    ways = {
        "row 1 (id 1) was altered after it was chained": whole.replace(b"192.0.2.1", b"192.0.2.9", 1),
        "row 5 (id ?) was removed": b"".join(whole.splitlines(keepends=True)[:-1]),
        "row 2 (id ?) was removed": b"".join(whole.splitlines(keepends=True)[at] for at in (0, 1, 3, 4, 5)),
    }
    for said, changed in ways.items():
        file.write_bytes(gzip.compress(changed))
        capsys.readouterr()
        assert audit.main(["verify", "--file", str(file)]) == 2
        assert "is not the file that" in capsys.readouterr().err
        told = json.loads(manifest.read_text())
        manifest.write_text(json.dumps(told | {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}))
        assert audit.main(["verify", "--file", str(file)]) == 1
        assert said in capsys.readouterr().err


def test_a_run_that_crashes_after_any_statement_is_completed_by_the_next(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, sessions = shop
    died = 0
    while True:
        try:
            with crash_after(engine_of(sessions), died + 1):
                audit.archive(settings, sessions, tmp_path)
        except Crash:
            died += 1
            rows, exports = left(sessions)
            assert exports == 1 or rows == OLD + 3, "nothing goes before it was exported"
        else:
            break
    assert died > 3
    assert left(sessions) == (3, 1)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gz", ".json"]
    assert audit.main(["verify"]) == 0


def test_exports_are_encrypted_and_uploaded_as_backups_are(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "key.txt").write_text(f"{identity}\n")
    monkeypatch.setenv("ZENZEFI_BACKUP__AGE_RECIPIENTS", json.dumps([str(identity.to_public())]))
    monkeypatch.setenv("ZENZEFI_BACKUP__S3_BUCKET", "away")
    with mock_aws():
        assert audit.main(["archive"]) == 2, "there is no such bucket"
        assert left(shop[1]) == (OLD + 3, 0), "nothing goes that is not safe"
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="away")
        assert audit.main(["archive"]) == 0
        names = [item["Key"] for item in s3.list_objects_v2(Bucket="away")["Contents"]]
    assert names == ["audit-000000000001-000000000005.json", "audit-000000000001-000000000005.jsonl.gz.age"]
    assert left(shop[1]) == (3, 1)
    file = tmp_path / names[1]
    assert b"192.0.2.1" not in file.read_bytes()
    assert audit.main(["verify", "--file", str(file)]) == 2
    assert audit.main(["verify", "--file", str(file), "--identity", str(tmp_path / "key.txt")]) == 0


def test_a_chain_shorter_than_its_stored_end_is_reported(shop: Shop, tmp_path: Path) -> None:
    heads = ChainHeads(tmp_path)
    assert audit.main(["verify", "--note"]) == 0
    heads.note(9, b"9" * 32)
    assert audit.main(["verify"]) == 1, "a row is gone that was there"
    heads.note(8, heads.known()[8], restored=True)
    assert audit.main(["verify"]) == 0
    (tmp_path / "audit-heads.jsonl").write_text("what is this\n")
    with pytest.raises(Failure, match="cannot be read"):
        heads.known()


def test_without_a_backup_folder_nothing_is_exported_or_removed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZENZEFI_BACKUP__FOLDER", "")
    assert audit.main(["archive"]) == 2
    assert "so no row is deleted" in capsys.readouterr().err
    assert left(shop[1]) == (OLD + 3, 0)

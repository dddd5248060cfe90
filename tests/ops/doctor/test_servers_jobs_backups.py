"""`./zenzefi doctor` checks servers, jobs, backups and the ledger, also when all of them are down."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from sqlalchemy import text

from jobs import queues as job_queues
from models import clock
from models.config.settings import Settings
from models.database import Sessions
from models.ledger import LedgerCheck
from models.outbox import OutboxMail
from models.services.audit import hash_chain
from models.services.audit import verification as chain_verification
from models.services.gateway import workers as gateway_workers
from models.services.monitoring import health_report
from models.services.monitoring.health_report import Check
from models.services.notifications import outbox
from ops.backups.manifest import Manifest
from ops.bootstrap import REPOSITORY
from ops.doctor import __main__ as doctor
from ops.doctor import audit_log, backups, clocks, databases, ledger, machine, queues, runner, versions
from ops.doctor.findings import Finding, Installation, Level, Section, Subject, duration
from ops.launcher.installation import Folders, save_chosen_settings, settings_of
from tests.conftest import SECRETS, Clock
from tests.factories import person
from tests.ops.doctor.helpers import NOWHERE, installation, problems, production

OK, WARNING, BAD = Level.OK, Level.WARNING, Level.BAD


@pytest.fixture
def home(committed: tuple[Settings, Sessions], redis: Redis) -> Installation:
    """An installation with a real database and a real, empty Redis."""
    return replace(installation(committed[0], hurried=False), sessions=committed[1])


def test_every_subject_is_reported_while_everything_is_down(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = {"DATABASE_URL": f"postgresql://zenzefi:hush-hush@{NOWHERE}/none", "REDIS_URL": f"redis://:quiet@{NOWHERE}"}
    for name, value in {**environment, **given}.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    code = doctor.main(["--json", "--data", str(tmp_path), "--portal", f"http://{NOWHERE}"])
    assert time.monotonic() - began < 10
    report = json.loads(said := capsys.readouterr().out)
    assert (code, report["is_well"]) == (1, False)
    assert {line["subject"] for line in report["findings"]} == {one.name for one in doctor.SUBJECTS}
    bad = {line["subject"] for line in report["findings"] if line["level"] == "bad"}
    assert bad >= {"postgresql", "redis", "portal", "gateway", "queues", "waiting", "ledger"}
    for secret in ("hush-hush", ":quiet@", *environment.values()):
        assert secret not in said or secret == environment["REDIS_URL"]


def test_unreadable_settings_are_reported_by_their_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody@{NOWHERE}/none")
    monkeypatch.setenv("ZENZEFI_PORTAL__PORT", "many")
    assert doctor.main(["--data", str(tmp_path)]) == 2
    said = capsys.readouterr().out
    assert "  bad      The settings are valid: portal.port" in said
    assert "docs/TROUBLESHOOTING.md#settings" in said
    assert "Release: 0.1.0" in said


def test_a_hanging_or_failing_subject_does_not_delay_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(_installation: Installation) -> Iterator[Finding]:
        yield Finding("something", True, "seen in time")
        time.sleep(3)

    def breaks(_installation: Installation) -> Iterator[Finding]:
        yield Finding("something else", True, "seen")
        raise ZeroDivisionError

    monkeypatch.setattr(runner, "LIMIT_SECONDS", 0.2)
    subjects = [Subject("slow", "", hangs), Subject("broken", "", breaks)]
    found = [
        (subject.name, finding.level, finding.see) for subject, finding in runner.findings(subjects, installation())
    ]
    assert found == [
        ("slow", OK, Section.NOWHERE),
        ("slow", BAD, Section.SLOW),
        ("broken", OK, Section.NOWHERE),
        ("broken", BAD, Section.FAULT),
    ]


def test_findings_are_printed_line_by_line_and_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    subject = Subject("doors", "every door", lambda _installation: iter(()))
    found = [
        Finding("a door is shut", True, "with opensesame"),
        Finding("another is", False, "ajar", "Shut it.", Section.SECRETS, is_urgent=False),
    ]
    assert doctor._print_findings(((subject, finding) for finding in found), {"opensesame"}, as_json=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        "doors: every door",
        "  ok       a door is shut: with ***",
        "  warning  another is: ajar",
        "           -> Shut it.",
        "              docs/TROUBLESHOOTING.md#secrets",
        "1 findings are ok, 1 warnings, 0 bad.",
    ]


def test_every_advice_has_a_section_in_the_docs_and_vice_versa() -> None:
    book = (REPOSITORY / doctor.TROUBLESHOOTING).read_text(encoding="utf-8").partition("## Findings of the doctor")[2]
    sections = {heading.lower().replace(" ", "-") for heading in re.findall(r"^### (.+)$", book, re.MULTILINE)}
    assert sections == set(Section) - {Section.NOWHERE}
    used = {
        name
        for path in Path(doctor.__file__).parent.glob("*.py")
        for name in re.findall(r"Section\.([A-Z_]+)", path.read_text())
    }
    assert {Section[name] for name in used} | {Section.PORTAL, Section.GATEWAY} == set(Section)


def test_packages_that_differ_from_the_pins_are_reported(tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    pins.write_text("# of a test\nFlask==0.1\nnot-there-at-all==1.0\nrq==0.2 ; python_version < '3.0'\n")
    finding = versions.packages(pins)
    assert finding.level is BAD
    assert re.fullmatch(r"Flask [0-9.]+ instead of ==0.1, not-there-at-all missing instead of ==1.0", finding.seen)
    assert problems(versions.examine(None)) == {}


def test_a_complete_database_passes_and_missing_objects_are_reported(home: Installation) -> None:
    assert problems(databases.examine_postgres(home)).keys() <= {"Database connections are available"}
    with home.sessions.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        session.execute(text("DROP EXTENSION pg_trgm CASCADE"))
        session.execute(text("REVOKE DELETE ON transfers, users FROM PUBLIC, CURRENT_USER"))
    found = problems(databases.examine_postgres(home))
    assert found["The database schema is up to date"] is BAD
    assert found["The extension pg_trgm is installed"] is WARNING
    with home.sessions.begin() as session:
        is_super = session.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
    assert is_super or found["The database role can read and write every table"] is BAD


def test_an_unsupported_server_is_reported(home: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    what = "PostgreSQL answers and its version is supported"
    monkeypatch.setattr(databases, "NEWEST_POSTGRES", 12)
    assert problems(databases.examine_postgres(home))[what] is WARNING
    monkeypatch.setattr(databases, "OLDEST_POSTGRES", 99)
    assert problems(databases.examine_postgres(home))[what] is BAD
    assert problems(databases.examine_redis(home)) == {}
    monkeypatch.setattr(databases, "OLDEST_REDIS", (99, 0))
    assert problems(databases.examine_redis(home)) == {"Redis answers and its version is supported": BAD}


def test_a_redis_that_evicts_keys_is_reported(home: Installation, redis: Redis) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    redis.config_set("maxmemory", "1")
    try:
        found = problems(databases.examine_redis(home))
    finally:
        redis.config_set("maxmemory", "0")
        redis.config_set("maxmemory-policy", "noeviction")
    assert found == {"Redis evicts nothing": BAD, "Redis has free memory": BAD}


def test_differing_clocks_are_reported(home: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(clocks.examine(home)) == {}
    right = clock.now
    monkeypatch.setattr(clock, "now", lambda: right() + timedelta(seconds=5))
    assert problems(clocks.examine(home)) == {
        "PostgreSQL's clock agrees with ours": BAD,
        "Redis's clock agrees with ours": BAD,
    }
    assert problems(clocks.examine(installation(upstream__url=f"http://{NOWHERE}"))) == {
        f"{name}'s clock agrees with ours": WARNING for name in ("PostgreSQL", "Redis", "The upstream")
    }


def test_failed_or_overdue_ledger_verification_is_reported(home: Installation, time: Clock) -> None:
    nightly, sound = "The ledger is verified each night", "Ledger verification passes"
    assert problems(ledger.examine(home)) == {nightly: WARNING}
    with home.sessions.begin() as session:
        session.add(LedgerCheck(is_sound=True, faults={}))
    assert problems(ledger.examine(home)) == {}
    time.advance(days=2)
    assert problems(ledger.examine(home)) == {nightly: WARNING}
    with home.sessions.begin() as session:
        session.execute(text("UPDATE accounts SET balance = 1 WHERE kind = 'sales'"))
        session.add(LedgerCheck(is_sound=False, faults={"account_balance": ["sales"]}))
    assert problems(ledger.examine(home)) == {nightly: BAD, sound: BAD}


def test_an_altered_or_unchained_audit_log_is_reported(home: Installation, time: Clock) -> None:
    proved, sealed, holds = (
        "The audit log is verified each night",
        "New audit rows are chained",
        "The audit log is unaltered",
    )
    person(home.sessions, "alice")
    time.advance(hours=1)
    assert problems(audit_log.examine(home)) == {proved: WARNING, sealed: BAD}
    key = hash_chain.key_of(home.settings.tokens)
    with home.sessions.begin() as session:
        assert hash_chain.chain_new_rows(session, key)
    with home.sessions.begin() as session:
        chain_verification.record_check(session, chain_verification.verify_and_record(session, key, recorded={}))
    assert problems(audit_log.examine(home)) == {}
    with home.sessions.begin() as session:
        session.execute(text("ALTER TABLE audit_entries DISABLE TRIGGER USER"))
        session.execute(text("UPDATE audit_entries SET user_agent = 'somebody else'"))
        chain_verification.record_check(session, chain_verification.verify_and_record(session, key, recorded={}))
    assert problems(audit_log.examine(home)) == {proved: BAD, holds: BAD}


def test_a_quick_run_on_a_large_database_checks_only_the_sum(
    home: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "QUICK_TRANSFERS", -2)
    what, hurried = "The sum over all accounts is zero", replace(home, is_quick=True)
    assert what not in problems(ledger.examine(hurried))
    with home.sessions.begin() as session:
        session.execute(text("UPDATE accounts SET balance = 1 WHERE kind = 'sales'"))
    assert problems(ledger.examine(hurried))[what] is BAD


def test_an_installation_without_worker_scheduler_or_gateway_is_reported(home: Installation, redis: Redis) -> None:
    assert problems(queues.examine(home)) == {
        "A worker serves zenzefi": BAD,
        "A worker serves zenzefi-slow": BAD,
        "The scheduler runs": BAD,
        "The schedule is complete": BAD,
        "The scheduled health check reports": WARNING,
        "Workers of the gateway report": BAD,
    }
    redis.set(job_queues.SCHEDULER_KEY, "now")
    redis.set(health_report.REPORT_KEY, health_report.as_json(dict.fromkeys(health_report.PARTS, Check(is_up=True))))
    redis.hset(gateway_workers.GAUGES, "worker", f"{clock.now().timestamp():.0f} 0")
    assert problems(queues.examine(home)).keys() == {
        "A worker serves zenzefi", "A worker serves zenzefi-slow", "The schedule is complete"
    }  # fmt: skip


def test_overdue_and_failed_jobs_are_reported(
    home: Installation, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(job_queues.QUEUE, connection=redis)
    job = queue.enqueue("jobs.cleanup.count_days")
    queue.failed_job_registry.add(queue.enqueue("jobs.cleanup.delete_ended_logins"), ttl=60)
    assert problems(queues.examine(home))["No job failed permanently"] is WARNING
    job.enqueued_at = clock.now() - timedelta(hours=1)
    job.save()
    assert problems(queues.examine(home))["zenzefi is short"] is BAD
    job.delete(remove_from_queue=False)
    monkeypatch.setattr(queues, "LONG_QUEUE", 1)
    assert problems(queues.examine(home))["zenzefi is short"] is BAD


def test_overdue_and_permanently_failed_mails_are_reported(home: Installation, time: Clock) -> None:
    assert problems(queues.examine_pending(home)) == {}
    alice = person(home.sessions, "alice")
    with home.sessions.begin() as session:
        outbox.enqueue_mail(session, "password_changed", alice, dedup_key="one", username="alice")
    time.advance(minutes=1)
    assert problems(queues.examine_pending(home)) == {}
    time.advance(hours=1)
    assert problems(queues.examine_pending(home)) == {"Mails are sent": BAD}
    with home.sessions.begin() as session:
        session.query(OutboxMail).update({"failed_at": clock.now()})
    assert problems(queues.examine_pending(home)) == {"No mail failed permanently": WARNING}


@pytest.fixture
def write_backup(tmp_path: Path) -> Callable[..., Manifest]:
    """Write files that look like a backup."""

    def write(days: float = 0, content: bytes = b"a dump", written: bytes = b"a dump") -> Manifest:
        moment = clock.now() - timedelta(days=days)
        name, digest = f"zenzefi-{moment:%Y%m%d-%H%M%S}.dump", hashlib.sha256(written).hexdigest()
        (tmp_path / name).write_bytes(content)
        made = Manifest(name, digest, len(content), moment, ("0001",), transfers=7, server="15.1")
        made.write(tmp_path)
        return made

    return write


def test_a_missing_old_or_broken_backup_is_reported(tmp_path: Path, write_backup: Callable[..., Any]) -> None:
    nightly, fresh, whole = (
        "Backups are made each night",
        "The newest backup is recent",
        "The newest backup has the right checksum",
    )
    assert problems(backups.examine(installation(data=tmp_path))) == {nightly: WARNING, "There is a backup": WARNING}
    home = installation(backup__folder=str(tmp_path))
    write_backup(days=3, content=b"half a dump")
    assert problems(backups.examine(home)) == {fresh: WARNING, whole: BAD}
    write_backup(days=2)
    assert problems(backups.examine(home)) == {fresh: WARNING}
    real = installation(**production(backup__folder=str(tmp_path)))
    assert problems(backups.examine(real)) == {fresh: BAD, "Backups are encrypted": WARNING}


def test_a_full_disk_a_low_file_limit_and_large_logs_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = installation(data=tmp_path, proxy__connections="1000000000")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "access.log").write_bytes(b"x" * 100)
    monkeypatch.setattr(machine, "LARGE_LOGS_MB", 0)
    monkeypatch.setattr(machine, "FREE_MB", 10**12)
    found = problems(machine.examine(home))
    assert found["The disk has free space"] is BAD
    assert found["The logs are small"] is WARNING
    assert found["A worker can open enough files"] is WARNING


def test_durations_are_printed_in_natural_units() -> None:
    told = [duration(seconds) for seconds in (0.0123, 59, 600, 36000, 10**6)]
    assert told == ["12 ms", "59 s", "10 min", "10 h", "12 days"]


def test_a_running_installation_is_found_at_its_ports(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.make()
    save_chosen_settings(folders, {"ZENZEFI_PORTAL__PORT": "4711", "ZENZEFI_PROXY__PORT": "4712"})
    told = {"DATABASE_URL": f"postgresql://nobody@{NOWHERE}/none", "REDIS_URL": f"redis://{NOWHERE}"}
    found = settings_of(tmp_path, {**told, "ZENZEFI_PROXY__PORT": "8081"})
    assert (found.portal.port, found.proxy.port) == (4711, 8081)
    folders.chosen.write_text("half a fi")
    assert settings_of(tmp_path, told).portal.port == 8000


def test_the_backup_folder_of_a_stopped_installation_is_found(tmp_path: Path) -> None:
    told = {"DATABASE_URL": f"postgresql://nobody@{NOWHERE}/none", "REDIS_URL": f"redis://{NOWHERE}"}
    assert settings_of(tmp_path, {**told, **SECRETS}).backup.folder == ""
    Folders(tmp_path).make()
    assert settings_of(tmp_path, told).backup.folder == str(tmp_path / "backups")
    for said in ("", "/elsewhere"):
        assert settings_of(tmp_path, {**told, "ZENZEFI_BACKUP__FOLDER": said}).backup.folder == said

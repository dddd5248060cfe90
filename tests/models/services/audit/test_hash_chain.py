"""Audit hash chain: every kind of tampering is detected, and chaining never waits for a purchase."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction, AuditEntry, Origin
from models.audit_chain import AuditChainLink
from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.audit import hash_chain, retention
from models.services.audit import log as audit_log
from models.services.audit import verification as chain_verification
from tests.factories import race

ROWS = 8


@pytest.fixture
def key(settings: Settings) -> bytes:
    return hash_chain.key_of(settings.tokens)


def write(session: Session, count: int = 1) -> None:
    """Write rows that differ."""
    for number in range(count):
        audit_log.record(
            session, AuditAction.JOB_CHANGED, PLATFORM, user_id=None, resource=("job", None), count=number, price=0.5
        )
        session.flush()


def write_at(session: Session, moment: datetime) -> None:
    """Write a row that says that it is of `moment`."""
    session.add(AuditEntry(action=AuditAction.JOB_CHANGED, resource_type="job", origin=Origin.JOB, created_at=moment))
    session.flush()


@pytest.fixture
def chained(session: Session, key: bytes) -> list[int]:
    """Return the ids of eight chained rows; row n has number n in the chain."""
    write(session, ROWS)
    assert hash_chain.chain_new_rows(session, key) == ROWS
    return list(session.scalars(select(AuditChainLink.entry_id).order_by(AuditChainLink.number)))


def verified(session: Session, key: bytes, **recorded: dict[int, bytes]) -> chain_verification.ChainReport:
    """Verify the chain as the test's transaction sees it."""
    return chain_verification.verify_and_record(session, key, recorded=recorded.get("recorded", {}))


def tamper(session: Session, *statements: str, **values: Any) -> None:
    """Change rows as the tables' owner can, without triggers and foreign keys."""
    for table in ("audit_entries", "audit_seals"):
        session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    session.execute(text("ALTER TABLE audit_seals DROP CONSTRAINT IF EXISTS fk_audit_seals_entry_id_audit_entries"))
    for statement in statements:
        session.execute(text(statement), {name: value for name, value in values.items() if f":{name}" in statement})


def test_a_chained_log_is_valid_and_a_second_run_chains_nothing(
    session: Session, key: bytes, chained: list[int]
) -> None:
    assert hash_chain.chain_new_rows(session, key) == 0
    report = verified(session, key)
    assert (report.rows, report.head.number, report.waiting, report.fault) == (ROWS, ROWS, 0, None)
    write(session)
    assert hash_chain.status(session).waiting == 1
    assert verified(session, key).is_sound
    assert hash_chain.chain_new_rows(session, key) == 1
    assert verified(session, key).head.number == ROWS + 1


CHANGES = {
    "created_at": "created_at + interval '1 second'",
    "action": "'token.purchased'",
    "resource_type": "'token'",
    "resource_id": "gen_random_uuid()",
    "ip_address": "'192.0.2.1'",
    "user_agent": "'somebody else'",
    "request_id": "'another'",
    "origin": "'page'",
    "details": """'{"count": 3, "price": 0.6}'""",
}


@pytest.mark.parametrize("column", CHANGES)
def test_an_altered_row_is_reported(session: Session, key: bytes, chained: list[int], column: str) -> None:
    tamper(session, f"UPDATE audit_entries SET {column} = {CHANGES[column]} WHERE id = :id", id=chained[3])
    assert verified(session, key).fault == chain_verification.Fault("altered", 4, chained[3])


def test_an_unknown_action_is_reported(session: Session, key: bytes, chained: list[int]) -> None:
    tamper(session, "UPDATE audit_entries SET action = 'never.heard_of' WHERE id = :id", id=chained[3])
    assert verified(session, key).fault == chain_verification.Fault("altered", 4, chained[3])


def test_a_removed_row_is_reported(session: Session, key: bytes, chained: list[int]) -> None:
    tamper(session, "DELETE FROM audit_entries WHERE id = :id", id=chained[3])
    fault = verified(session, key).fault
    assert fault == chain_verification.Fault("removed", 4, chained[3])
    assert str(fault) == f"row 4 (id {chained[3]}) was removed"


def test_a_row_removed_with_its_link_is_reported(session: Session, key: bytes, chained: list[int]) -> None:
    both = ("DELETE FROM audit_seals WHERE entry_id = :id", "DELETE FROM audit_entries WHERE id = :id")
    tamper(session, *both, id=chained[3])
    assert verified(session, key).fault == chain_verification.Fault("removed", 4)
    # The later numbers moved up: each hash covers its own number.
    tamper(session, *(f"UPDATE audit_seals SET number = {n} WHERE number = {n + 1}" for n in range(4, ROWS)))
    assert verified(session, key).fault == chain_verification.Fault("altered", 4, chained[4])


@pytest.mark.parametrize("other", [4, 6])
def test_swapped_rows_are_reported(session: Session, key: bytes, chained: list[int], other: int) -> None:
    tamper(
        session,
        "UPDATE audit_seals SET entry_id = 0 WHERE number = 4",
        "UPDATE audit_seals SET entry_id = :first WHERE number = :other",
        "UPDATE audit_seals SET entry_id = :second WHERE number = 4",
        first=chained[3], second=chained[other], other=other + 1,
    )  # fmt: skip
    assert verified(session, key).fault == chain_verification.Fault("reordered", 4, chained[other])


@pytest.mark.parametrize("other", [5, 7])
def test_swapped_links_are_reported(session: Session, key: bytes, chained: list[int], other: int) -> None:
    swap = [
        f"UPDATE audit_seals SET number = {to} WHERE number = {at}" for at, to in ((4, 99), (other, 4), (99, other))
    ]
    tamper(session, *swap)
    assert verified(session, key).fault == chain_verification.Fault("reordered", 4, chained[other - 1])


def test_an_inserted_row_is_reported(session: Session, key: bytes, chained: list[int]) -> None:
    write(session)
    fake = session.scalar(select(func.max(AuditEntry.id)))
    tamper(
        session,
        *(f"UPDATE audit_seals SET number = {n + 1} WHERE number = {n}" for n in range(ROWS, 3, -1)),
        "INSERT INTO audit_seals SELECT 4, :fake, sealed_at, hash FROM audit_seals WHERE number = 3",
        fake=fake,
    )
    assert verified(session, key).fault == chain_verification.Fault("inserted", 4, fake)


def test_a_backdated_row_is_reported(session: Session, key: bytes, chained: list[int]) -> None:
    old = "INSERT INTO audit_entries (created_at, action, resource_type) VALUES (now() - interval '1 hour', 'x', 'y')"
    session.execute(text(old))
    assert hash_chain.chain_new_rows(session, key) == 0, "it would be sealed as if it had been there"
    fault = verified(session, key).fault
    assert fault is not None
    assert (fault.what, fault.entry) == ("inserted", session.scalar(select(func.max(AuditEntry.id))))


def test_rows_written_after_the_clock_stepped_back_are_chained_in_order_and_valid(
    *, session: Session, key: bytes, chained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The log's order is that in which rows were written. A clock that is set back changes their times only.
    behind = clock.now() - timedelta(hours=20)
    monkeypatch.setattr(clock, "now", lambda: behind)
    write_at(session, behind)
    assert verified(session, key).is_sound, "a row that waits for its seal is as good"
    assert hash_chain.status(session).waiting == 1
    assert hash_chain.chain_new_rows(session, key) == 1
    write_at(session, behind)
    assert hash_chain.chain_new_rows(session, key) == 1
    monkeypatch.undo()
    write(session)
    assert hash_chain.chain_new_rows(session, key) == 1
    report = verified(session, key)
    assert (report.rows, report.fault) == (ROWS + 3, None)
    _head, fault = chain_verification.verify_lines(
        key, list(hash_chain.walk(session, 0)), number=0, before=hash_chain.START
    )
    assert fault is None
    # A row that is backdated while the clock is right is found as before.
    write_at(session, behind)
    assert hash_chain.chain_new_rows(session, key) == 0
    assert str(verified(session, key).fault).endswith("was inserted later")


@pytest.mark.parametrize("step", ["back and forward", "forward"])
def test_a_step_of_the_clock_that_no_link_records_is_reported_as_an_insertion(
    *, session: Session, key: bytes, chained: list[int], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The limits in docs/audit.md: the rows alone do not tell such a step from a backdated row."""
    moment = clock.now()
    if step == "forward":
        # The transaction that writes the second row began before the step, and commits after a row of the new time.
        ahead = moment + timedelta(hours=2)
        monkeypatch.setattr(hash_chain, "now", lambda _: ahead)
        write_at(session, ahead)
        assert hash_chain.chain_new_rows(session, key) == 1
        write_at(session, moment)
    else:
        write_at(session, moment - timedelta(hours=2))
        write(session)
    assert hash_chain.chain_new_rows(session, key) == (step != "forward")
    fault = verified(session, key).fault
    assert fault is not None
    assert fault.what == "inserted"


def test_rows_removed_from_the_end_are_reported_where_the_end_was_recorded(
    session: Session, key: bytes, chained: list[int]
) -> None:
    end = verified(session, key).head
    gone = "number > 6"
    tamper(
        session,
        f"DELETE FROM audit_entries WHERE id IN (SELECT entry_id FROM audit_seals WHERE {gone})",
        f"DELETE FROM audit_seals WHERE {gone}",
    )
    assert verified(session, key).is_sound, "a shorter chain holds: that is why its end is noted elsewhere"
    assert verified(session, key, recorded={end.number: end.hash}).fault == chain_verification.Fault("cut off", ROWS)


def test_a_forged_chain_needs_the_key_and_differs_from_the_recorded_end(
    session: Session, key: bytes, chained: list[int]
) -> None:
    end = verified(session, key).head

    def forge(with_key: bytes) -> None:
        tamper(session, "UPDATE audit_entries SET details = '{}' WHERE id = :id", id=chained[3])
        before = hash_chain.START
        for row in list(hash_chain.walk(session, 0)):
            before = hash_chain.hash_of(with_key, before, row)
            tamper(session, "UPDATE audit_seals SET hash = :hash WHERE number = :n", hash=before, n=row.number)

    forge(b"guessed")
    assert verified(session, key).fault == chain_verification.Fault("altered", 1, chained[0])
    forge(key)
    assert verified(session, key).is_sound
    assert verified(session, key, recorded={end.number: end.hash}).fault == chain_verification.Fault(
        "altered", ROWS, chained[-1]
    )


def test_rows_cannot_be_passed_off_as_exported(session: Session, key: bytes, chained: list[int]) -> None:
    end = verified(session, key).head
    part = retention.ChainPart(hash_chain.Head(), 5)
    made = retention.record_export(
        session, b"guessed", part, replace(end, number=5), file="gone.jsonl.gz", sha256="0" * 64
    )
    assert retention.delete_exported(session) == 5
    assert verified(session, key).fault == chain_verification.Fault("archive", made.last)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET details = '{}'",
        "DELETE FROM audit_entries WHERE id = (SELECT max(id) FROM audit_entries)",
        "TRUNCATE audit_entries CASCADE",
        "UPDATE audit_seals SET hash = ''",
        "DELETE FROM audit_seals",
        "TRUNCATE audit_seals",
        "DELETE FROM audit_archives",
    ],
)
def test_the_database_refuses_to_change_audit_rows(session: Session, chained: list[int], statement: str) -> None:
    with pytest.raises(IntegrityError, match=r"append-only|is kept"), session.begin_nested():
        session.execute(text(statement))


def test_a_long_transaction_is_chained_after_younger_ones_and_two_workers_chain_each_row_once(
    committed: tuple[Settings, Sessions],
) -> None:
    settings, factory = committed
    key = hash_chain.key_of(settings.tokens)

    def chain_rows() -> int:
        with factory.begin() as session:
            return hash_chain.chain_new_rows(session, key)

    with factory.begin() as slow:
        write(slow)
        with factory.begin() as quick:
            write(quick, 3)
        assert chain_rows() == 3, "nobody waits for a transaction that is still open"
    assert chain_rows() == 1
    with factory.begin() as session:
        write(session, 20)
    assert sum(race(*[chain_rows] * 4)) + chain_rows() == 20
    with factory.begin() as session:
        report = chain_verification.verify(session, key)
    assert (report.rows, report.fault) == (24, None)

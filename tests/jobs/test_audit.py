"""Audit log jobs chain all new rows, and run the commands that verify and export the log."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from jobs import audit, subprocess_command
from models.config.settings import Settings
from models.database import Sessions
from models.services.audit import hash_chain
from models.services.audit import verification as chain_verification
from models.users import User

Committed = tuple[Settings, Sessions]
Run = Callable[[Callable[..., Any]], Any]


def test_all_new_rows_are_chained_in_batches_and_once(
    shop: Committed, buyer: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "INSERT INTO audit_entries (action, resource_type) SELECT 'job.changed', 'job' FROM generate_series(1, 25)"
    run(lambda s: s.execute(text(rows)))
    monkeypatch.setattr(hash_chain, "BATCH_SIZE", 10)
    assert [audit.chain_new_rows() for _ in range(2)] == [27, 0]
    assert run(lambda s: chain_verification.verify(s, hash_chain.key_of(shop[0].tokens))).rows == 27


def test_the_nightly_verification_stores_its_result_and_logs_a_failure(
    shop: Committed, buyer: User, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert audit.chain_new_rows() == 2
    run(lambda s: s.execute(text("ALTER TABLE audit_entries DISABLE TRIGGER USER")))
    run(lambda s: s.execute(text("UPDATE audit_entries SET details = '{}' WHERE action = 'balance.adjusted'")))
    with pytest.raises(subprocess_command.CommandFailed):
        audit.verify()
    assert "audit: Audit log verification FAILED: row 2" in caplog.text
    assert not run(chain_verification.last_check).is_sound


def test_without_a_folder_the_nightly_export_does_nothing(shop: Committed) -> None:
    assert audit.archive() == "off: [backup] folder is empty"

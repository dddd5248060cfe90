"""Checks over the whole test run that every audit action is written, with its request and a label for each detail.

The whole run fails when an action was never written; a part of it only looks at the rows it wrote.
"""

from typing import Any

import pytest
from sqlalchemy import event

from models.audit import AuditAction, AuditEntry
from portal.presentation.audit_details import NAMES
from portal.presentation.labels import RESOURCES


class Audited:
    """Records every audit row that this process writes; with several processes, the first one merges them."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        event.listen(AuditEntry, "before_insert", self._note)

    def _note(self, _mapper: Any, _connection: Any, entry: AuditEntry) -> None:
        self.seen.add(str(entry.action))
        assert entry.origin is not None, f"{entry.action} does not say which side wrote it"
        assert entry.ip_address or not entry.origin.is_request, f"{entry.action} of a request has no address"
        wordless = set(entry.details or ()) - set(NAMES)
        assert not wordless, (
            f"portal/presentation/audit_details.py has no word for {', '.join(wordless)} of {entry.action}"
        )
        assert entry.resource_type in RESOURCES, (
            f"portal/presentation/labels.py has no word for a {entry.resource_type}"
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.seen |= set(getattr(node, "workeroutput", {}).get("audited", ()))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        config = session.config
        if hasattr(config, "workeroutput"):
            config.workeroutput["audited"] = sorted(self.seen)
            return
        missing = sorted(set(AuditAction) - self.seen)
        if missing and session.exitstatus == pytest.ExitCode.OK and is_whole(config):
            print(f"\nNo test writes the audit rows {', '.join(missing)}.")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def is_whole(config: pytest.Config) -> bool:
    """Return whether all tests run."""
    narrowed = any(config.getoption(name, None) for name in ("keyword", "markexpr", "lf", "deselect", "ignore"))
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not narrowed

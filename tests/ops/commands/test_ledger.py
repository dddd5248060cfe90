"""`./zenzefi ledger verify` reports the result as text, as JSON and by its exit code."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from models.config.settings import Settings
from models.database import Sessions
from ops.commands import ledger
from ops.console import Failure
from ops.launcher.installation import settings_of
from tests.factories import buy, person

Shop = tuple[Settings, Sessions]


@pytest.fixture
def shop(committed: Shop, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop that has sold a token, found by the environment."""
    for name, value in {**environment, "DATABASE_URL": committed[0].database.url}.items():
        monkeypatch.setenv(name, value)
    alice = person(committed[1], "alice", balance="100")
    with committed[1].begin() as session:
        buy(session, alice, committed[0])
    return committed


def test_a_consistent_ledger_is_reported_with_its_totals(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert ledger.main(["verify"]) == 0
    said = capsys.readouterr().out
    assert "Ledger verification passed." in said
    assert "balance of wallet                      82.00" in said
    assert ledger.main(["verify", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["is_sound"], report["transfers"], report["turnover"], report["faults"]) == (True, 2, "118.00", {})
    assert report["balances"]["sales"] == "18.00"


def test_a_ledger_fault_is_reported_with_exit_code_1(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    with shop[1].begin() as session:
        session.execute(text("UPDATE accounts SET balance = balance + 1 WHERE kind = 'sales'"))
    assert ledger.main(["verify"]) == 1
    said = capsys.readouterr().out
    assert "FAULT: A balance differs from its transfers\n  sales " in said
    assert "verification FAILED" in said
    assert ledger.main(["verify", "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["faults"]) == 2


def test_an_unreachable_database_is_exit_code_2(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert ledger.main(["verify"]) == 2
    assert "The ledger cannot be read" in capsys.readouterr().err


def test_a_missing_installation_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Failure, match="There is no installation"):
        settings_of(tmp_path / "nothing", {})
    with pytest.raises(SystemExit):
        ledger.main([])

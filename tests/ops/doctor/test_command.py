"""`./zenzefi doctor SUBJECT` on the command line."""

import json

import pytest
from sqlalchemy import text

from models.config.settings import Settings
from models.database import Sessions
from ops.doctor import __main__ as doctor


def test_a_single_subject_is_checked_and_its_failure_is_the_exit_code(
    committed: tuple[Settings, Sessions],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {**environment, "DATABASE_URL": committed[0].database.url}.items():
        monkeypatch.setenv(name, value)
    assert doctor.main(["ledger", "--json"]) == 0
    assert {line["subject"] for line in json.loads(capsys.readouterr().out)["findings"]} == {"ledger"}
    with committed[1].begin() as session:
        session.execute(text("UPDATE accounts SET balance = 1 WHERE kind = 'sales'"))
    assert doctor.main(["ledger", "--json"]) == 1


def test_the_former_subject_payments_names_the_test_suite_that_replaced_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["payments"]) == 2
    assert "./zenzefi test tests/abuse/test_payment_callbacks.py" in capsys.readouterr().err


def test_an_unknown_subject_is_a_usage_error() -> None:
    with pytest.raises(SystemExit):
        doctor.main(["the weather"])

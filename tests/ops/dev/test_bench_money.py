"""The benchmark of the shop: its history adds up, and each measurement measures something."""

import io
import json
import os
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis
from sqlalchemy import func, select

from models.config.settings import Settings
from models.database import Sessions
from models.ledger import Transfer
from models.payments import PaymentEvent
from ops.dev.bench.money import clients, history, measure, run
from portal.request import context
from tests.factories import assert_sound
from tests.ops.portals import serving

TRANSFERS = 3000
Committed = tuple[Settings, Sessions]


@pytest.fixture
def shop(committed: Committed) -> Committed:
    with committed[1].begin() as session:
        history.write(session, TRANSFERS)
    return committed


def test_the_history_is_as_long_as_wanted_and_its_books_are_proved(shop: Committed) -> None:
    found = measure.verify(shop[1], os.getpid())
    assert TRANSFERS <= found["transfers"] <= TRANSFERS + 10
    assert found["seconds"] > 0


def test_clients_buy_until_their_time_is_over(
    shop: Committed, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**environment, "DATABASE_URL": shop[0].database.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert clients.main(["0.3", "2", "10", "0"]) == 0
    ready, latencies = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    bought = json.loads(latencies)
    assert bought
    with shop[1].begin() as session:
        one_hour = select(func.count()).where(Transfer.description == "Token for 1 h")
        assert session.scalar(one_hour) == len(bought)
    assert_sound(shop[1])


def test_callbacks_are_sent_to_the_portal_and_all_of_them_are_stored(
    shop: Committed, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert redis
    asked: list[Any] = []
    monkeypatch.setattr(context, "enqueue", lambda *job: asked.append(job))
    with serving(shop[0]) as address:
        found = measure.callbacks(shop[1], shop[0], urlsplit(address).port or 0, 0.3)
    assert (found["errors"], found["clients"]) == (0, 16)
    with shop[1].begin() as session:
        stored = session.scalars(select(PaymentEvent.processed_at)).all()
    # Each is settled at once or, when that takes too long, by a job.
    assert stored
    assert stored.count(None) == len(asked)


def test_the_table_has_a_line_for_each_measurement() -> None:
    row = {"per_second": 100.0, "p50": 1.0, "p95": 2.0, "highest": 3.0}
    proof = {"transfers": 1000000, "seconds": 9.5, "own_mib": 0.1, "server_mib": 20.0, "spilled_mib": 40.0}
    said = run.text(
        {
            "purchases": [row | {"wallets": 1}, row | {"wallets": 1000}],
            "callbacks": row,
            "verify": proof,
        }
    )
    for name in ("purchases on 1,000 wallet(s)", "callbacks, stored, settled", "1,000,000 transfers"):
        assert name in said

"""The money benchmark: purchases, callbacks and verification of a seeded ledger."""

import os
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import func, select

from models.config.settings import Settings
from models.database import Sessions
from models.ledger import Transfer
from models.payments import PaymentEvent
from ops.dev.bench.money import measure, run
from ops.dev.bench.targets import program
from ops.dev.seed.__main__ import seed
from ops.dev.seed.sizes import Sizes
from portal.request import context
from tests.factories import assert_sound, engine_of
from tests.ops.portals import serving

TRANSFERS = 3000
Committed = tuple[Settings, Sessions]


@pytest.fixture
def shop(committed: Committed, redis: Redis) -> Committed:
    assert redis
    limits = committed[0].limits.model_copy(update={"api_per_minute": 1_000_000})
    settings = committed[0].model_copy(update={"limits": limits})
    seed(engine_of(committed[1]), settings, Sizes.of(20, TRANSFERS // 2, TRANSFERS))
    return settings, committed[1]


def loads(address: str, folder: Path) -> measure.Loads:
    return measure.Loads(program("wrk") or "wrk", address, folder, 1)


def test_the_seeded_ledger_has_the_requested_length_and_passes_verification(shop: Committed) -> None:
    found = measure.verify(shop[1], os.getpid())
    assert found["transfers"] == TRANSFERS
    assert found["seconds"] > 0


def test_all_purchases_over_the_api_are_booked(shop: Committed, tmp_path: Path) -> None:
    with serving(shop[0]) as address:
        found = loads(address, tmp_path).api(shop[1], shop[0], 10)
    assert {load.errors for load in found.values()} == {0}
    assert all(load.per_second > 0 for load in found.values())
    with shop[1].begin() as session:
        bought = session.scalar(select(func.count()).where(Transfer.description == "Token for 1 h")) or 0
    assert bought >= found["POST purchase, 10 wallet(s)"].per_second
    assert_sound(shop[1])


def test_all_callbacks_sent_to_the_portal_are_stored(
    shop: Committed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    queued: list[object] = []
    monkeypatch.setattr(context, "enqueue", lambda *job: queued.append(job))
    with shop[1].begin() as session:
        before = session.scalar(select(func.count(PaymentEvent.id))) or 0
    with serving(shop[0]) as address:
        found = loads(address, tmp_path).callbacks(shop[1], shop[0])
    assert found.errors == 0
    with shop[1].begin() as session:
        stored = session.scalars(select(PaymentEvent.processed_at)).all()
    assert len(stored) > before
    # Each is settled at once or, when that takes too long, by a job; some were under way when wrk ended.
    assert 0 <= stored.count(None) - len(queued) <= measure.CLIENTS


def test_the_table_has_a_line_for_each_measurement() -> None:
    row = {"per_second": 100.0, "p50": 1.0, "p95": 2.0, "p99": 3.0, "errors": 0}
    verified = {"transfers": 1000000, "seconds": 9.5, "own_mib": 0.1, "server_mib": 20.0, "spilled_mib": 40.0}
    written = run.text({"verify": verified, "POST purchase, 1,000 wallet(s)": row, "payment callbacks": row})
    for name in ("POST purchase, 1,000 wallet(s)", "payment callbacks", "1,000,000 transfers"):
        assert name in written

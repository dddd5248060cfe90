"""`./zenzefi seed` fills a database that passes ledger verification, keeps its schema, and refuses a used one."""

import pytest
from sqlalchemy import text

from models.config.settings import Settings
from models.database import Sessions
from models.services.accounts import passwords, users
from ops.console import Failure
from ops.dev.seed import rows, secondary_rows
from ops.dev.seed.__main__ import seed
from ops.dev.seed.sizes import Sizes
from tests.conftest import make_user
from tests.factories import assert_sound, counted, engine_of

SHAPE = text("""
    SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT conrelid::regclass::text, conname || pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2
    """)


def test_seeded_data_has_the_requested_sizes_and_passes_ledger_verification(
    committed: tuple[Settings, Sessions],
) -> None:
    settings, factory = committed
    engine = engine_of(factory)
    with engine.connect() as connection:
        shape = connection.execute(SHAPE).all()
    password = seed(engine, settings, Sizes.of(50, 2000, 9000))
    with engine.connect() as connection:
        assert connection.execute(SHAPE).all() == shape
        filled = (*rows.TABLES, *secondary_rows.TABLES, "payment_days", "day_figures")
        counts = {table: connection.scalar(text(f"SELECT count(*) FROM {table}")) for table in filled}
    assert (counts["users"], counts["access_tokens"], counts["transfers"]) == (50, 2000, 9000)
    assert min(counts.values()) > 0
    assert_sound(factory)
    assert counted(factory).requests > 0
    with factory() as session:
        buyer = users.by_email(session, "seed1@example.test")
        assert buyer is not None
        assert passwords.verify_password(buyer.password_hash, password)


def test_a_database_with_users_and_production_are_rejected(committed: tuple[Settings, Sessions]) -> None:
    settings, factory = committed
    real = settings.platform.model_copy(update={"environment": "production"})
    with pytest.raises(Failure, match="in production"):
        seed(engine_of(factory), settings.model_copy(update={"platform": real}), Sizes.of(10, 10, 100))
    with factory.begin() as session:
        make_user(session, "alice", balance="1")
    with pytest.raises(Failure, match="not empty"):
        seed(engine_of(factory), settings, Sizes.of(10, 10, 100))


def test_inconsistent_sizes_are_rejected_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="at least 10 users, 10 tokens and, for these, 210 transfers are needed"):
        Sizes.of(100, 100, 209)
    assert Sizes.of(10, 100, 10_000) == Sizes(10, 100, 10_000, 10, 97, 90)

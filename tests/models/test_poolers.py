"""Connection limits hold directly and through PgBouncer, in every pooling mode.

PgBouncer's documentation (config, `ignore_startup_parameters`): it tracks a few startup parameters only and refuses a
connection that sends others, such as `options`. Its feature matrix: SET is not supported in transaction pooling.
"""

import itertools
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from models import database
from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from portal import create_app
from portal.extensions import db
from tests.pgbouncer import pgbouncer

LIMITS = {
    "TimeZone": "UTC",
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "1min",
}
# With so few server connections, each transaction gets one that another client of ours has used.
FEW = {"default_pool_size": "2"}


def limits(engine: Engine) -> dict[str, str]:
    """Return the limits of one transaction."""
    with engine.connect() as connection:
        return {name: str(connection.scalar(text(f"SHOW {name}"))) for name in LIMITS}


@pytest.fixture(params=["session", "transaction"])
def pooled(request: pytest.FixtureRequest, committed: tuple[Settings, Sessions]) -> Iterator[Settings]:
    """Settings of a process that connects through PgBouncer."""
    settings, _ = committed
    more = FEW if request.param == "transaction" else {}
    with pgbouncer(settings.database.url, request.param, more=more) as url:
        yield settings.model_copy(update={"database": settings.database.model_copy(update={"url": url})})


def test_the_limits_hold_in_each_transaction_behind_a_pooler(pooled: Settings) -> None:
    engines = [database.connect(pooled.database) for _ in range(3)]
    for engine in itertools.islice(itertools.cycle(engines), 9):
        assert limits(engine) == LIMITS
    for engine in engines:
        engine.dispose()


def test_a_statement_that_takes_too_long_is_cancelled_behind_a_pooler(pooled: Settings) -> None:
    engine = database.connect(pooled.database.model_copy(update={"statement_timeout_ms": 50}))
    with pytest.raises(OperationalError, match="statement timeout"), engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(2)"))
    engine.dispose()


def test_a_transactions_own_limits_override_those_of_the_process(pooled: Settings) -> None:
    engine = database.connect(pooled.database)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        assert connection.scalar(text("SHOW statement_timeout")) == "0"
    engine.dispose()


def test_limits_apply_to_our_transactions_and_not_to_the_poolers_connections(
    committed: tuple[Settings, Sessions],
) -> None:
    """The pooler's connections serve other programs too."""
    settings, _ = committed
    with pgbouncer(settings.database.url, "transaction", more={"default_pool_size": "1"}) as url:
        ours = database.connect(settings.database.model_copy(update={"url": url}))
        assert limits(ours) == LIMITS
        other = create_engine(url)
        with other.connect() as connection:
            assert connection.scalar(text("SHOW statement_timeout")) == "0"
        other.dispose()
        ours.dispose()


def test_the_portal_keeps_the_limits_behind_a_pooler(pooled: Settings) -> None:
    app = create_app(pooled)
    with app.app_context():
        assert limits(db.engine) == LIMITS
        db.engine.dispose()


def test_a_pooler_that_gives_each_statement_another_connection_is_refused(
    committed: tuple[Settings, Sessions],
) -> None:
    settings, _ = committed
    with pgbouncer(settings.database.url, "statement") as url:
        engine = database.connect(settings.database.model_copy(update={"url": url}))
        with pytest.raises(SQLAlchemyError), engine.connect():
            pass
        engine.dispose()


def test_a_connection_whose_limits_do_not_hold_is_not_used(
    committed: tuple[Settings, Sessions], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = committed
    engine = database.connect(settings.database)
    monkeypatch.setattr(database, "_SET", "SELECT set_config('timezone', 'UTC', %(is_local)s)")
    with pytest.raises(database.LimitsNotApplied, match="statement_timeout"), engine.connect():
        pass
    engine.dispose()


def test_listen_url_is_read_as_the_address_of_the_database_is(environment: dict[str, str]) -> None:
    plain = {**environment, "DATABASE_URL": "postgresql://pooler:6543/shop"}
    assert config.load_settings(plain).database.direct_url == "postgresql+psycopg2://pooler:6543/shop"
    both = {**plain, "ZENZEFI_DATABASE__LISTEN_URL": "postgresql://server:5432/shop"}
    assert config.load_settings(both).database.direct_url == "postgresql+psycopg2://server:5432/shop"
    with pytest.raises(config.ConfigError) as caught:
        config.load_settings({**plain, "ZENZEFI_DATABASE__LISTEN_URL": "mysql://me:mypassword@server/shop"})
    assert "database.listen_url: must start with postgresql://" in str(caught.value)
    assert "mypassword" not in str(caught.value)

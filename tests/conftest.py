"""Fixtures for all tests, on a real PostgreSQL and Redis that `./zenzefi test` starts."""

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from argon2 import PasswordHasher
from redis import Redis
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from models import clock, database
from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from models.services.accounts import passwords, users
from models.services.actor import PLATFORM
from models.services.ledger import adjustments
from models.users import User
from ops.commands import migrate
from ops.dev import testrun
from tests import audit_coverage
from tests.databases import DatabasePool

PASSWORD = "correct horse battery"
SECRETS = {
    "ZENZEFI_PORTAL__SECRET_KEY": "a portal key that only tests use",
    "ZENZEFI_TOKENS__HASH_KEY": "a hash key that only tests use",
    "ZENZEFI_TOKENS__MAC_KEYS": "a mac key that only tests use",
    "ZENZEFI_PAYMENTS__MOCK_SIGNING_KEY": "a signing key that only tests use",
}


def pytest_configure(config: pytest.Config) -> None:
    """Report missing servers once instead of failing in every test, and make password hashes cheap."""
    config.pluginmanager.register(audit_coverage.Audited())
    process = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    if testrun.REDIS_URLS in os.environ:
        os.environ["REDIS_URL"] = os.environ[testrun.REDIS_URLS].split()[int(process)]
    missing = [name for name in ("DATABASE_URL", "REDIS_URL") if not os.environ.get(name)]
    if missing:
        pytest.exit(f"{' and '.join(missing)} must be set; ./zenzefi test does it for you", returncode=2)
    cheap = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    passwords._hasher = cheap
    passwords._dummy_hash = cheap.hash("a password that belongs to nobody")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests that start many processes first, so that no long file is left to one process at the end."""
    first = ("e2e", "abuse", "ops", "addon", "jobs")

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(item.config.rootpath / "tests").parts[0]
        return first.index(folder) if folder in first else len(first)

    items.sort(key=rank)


# These share one platform and one browser (tests/e2e/conftest.py), so one process runs them all.
ONE_PLATFORM = tuple(
    f"tests/e2e/test_{name}.py"
    for name in ("admin", "api", "browser_access", "doctor", "documented_commands", "journey", "shop")
)


class Scheduling(LoadFileScheduling):
    """Gives each file to one process, and the files that share a platform to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "tests/e2e" if file in ONE_PLATFORM else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Use the scheduler above where files are kept together."""
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Environment variables of the project's processes, without a database."""
    return {**SECRETS, "REDIS_URL": os.environ["REDIS_URL"]}


def _named(name: str) -> str:
    server = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg2", database=name)
    return server.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def server() -> Iterator[Engine]:
    """A connection to the server, to create and drop temporary databases."""
    engine = create_engine(_named("postgres"), isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def template(server: Engine, environment: dict[str, str]) -> Iterator[str]:
    """A migrated, empty database without connections, to be copied."""
    name = f"zenzefi_template_{os.getpid()}"
    with server.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    migrate.migrate(config.load_settings({**environment, "DATABASE_URL": _named(name)}))
    yield name
    with server.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(scope="session")
def make_database(server: Engine, template: str) -> Iterator[Callable[[], str]]:
    """Return a function that copies the template and returns the URL of the copy, dropped after the run."""
    made: list[str] = []

    def make() -> str:
        name = f"zenzefi_test_{os.getpid()}_{len(made)}"
        with server.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
        made.append(name)
        return _named(name)

    yield make
    if testrun.REDIS_URLS in os.environ:
        return  # the server goes away with the run, and hundreds of databases take minutes to drop
    with server.connect() as connection:
        for name in made:
            connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


@pytest.fixture(scope="session")
def settings(make_database: Callable[[], str], environment: dict[str, str]) -> Settings:
    """Settings of the tests, on a database that savepoint tests share and leave empty."""
    return config.load_settings({**environment, "DATABASE_URL": make_database()})


@pytest.fixture(scope="session")
def engine(settings: Settings) -> Iterator[Engine]:
    engine = database.connect(settings.database)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """One transaction around the test, rolled back at its end."""
    with engine.connect() as connection:
        outer = connection.begin()
        yield connection
        outer.rollback()


@pytest.fixture
def session(connection: Connection) -> Iterator[Session]:
    """A session whose commits are savepoints within the test's transaction."""
    with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
        yield session


@pytest.fixture(scope="session")
def pool(make_database: Callable[[], str], template: str) -> DatabasePool:
    """Databases that are emptied after a test and used again."""
    return DatabasePool(make_database, _named(template))


@pytest.fixture
def committed(pool: DatabasePool, environment: dict[str, str]) -> Iterator[tuple[Settings, Sessions]]:
    """A separate database with real commits, for threads, notifications and processes."""
    with pool.database() as url:
        settings = config.load_settings({**environment, "DATABASE_URL": url})
        engine = database.connect(settings.database)
        yield settings, database.sessions(engine)
        engine.dispose()


@pytest.fixture
def redis(environment: dict[str, str]) -> Iterator[Redis]:
    """An empty Redis."""
    connection = Redis.from_url(environment["REDIS_URL"])
    connection.flushall()
    yield connection
    connection.flushall()
    connection.close()


def make_user(session: Session, name: str, *, balance: str = "0", is_superuser: bool = False) -> User:
    """Register a user with the tests' password and an optional balance."""
    user = users.register(
        session,
        email=f"{name}@example.test",
        username=name,
        password=PASSWORD,
        actor=PLATFORM,
        is_superuser=is_superuser,
    )
    if Decimal(balance) > 0:
        adjustments.adjust(session, user, amount=Decimal(balance), reason="test money", actor=PLATFORM)
    return user


@pytest.fixture
def alice(session: Session) -> User:
    """The owner, with 100 ZNC."""
    return make_user(session, "alice", balance="100")


@pytest.fixture
def bob(session: Session) -> User:
    """Another user, with 100 ZNC."""
    return make_user(session, "bob", balance="100")


@pytest.fixture
def charlie(session: Session) -> User:
    """A stranger without tokens or balance."""
    return make_user(session, "charlie")


@pytest.fixture
def dana(session: Session) -> User:
    """The admin."""
    return make_user(session, "dana", is_superuser=True)


class Clock:
    """A clock that only the test advances."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **delta: float) -> None:
        """Advance the clock by arguments of timedelta, such as `hours=1`."""
        self.moment += timedelta(**delta)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The test's clock, which is stopped until advanced."""
    stopped = Clock(clock.now().replace(microsecond=0))
    monkeypatch.setattr(clock, "now", stopped)
    return stopped


def some_id() -> uuid.UUID:
    """An id that does not exist."""
    return uuid.uuid4()

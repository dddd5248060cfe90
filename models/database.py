"""The way to PostgreSQL: one engine for a process, with the same limits everywhere."""

from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

from models import tables  # noqa: F401 - a row may refer to any table, so whoever connects knows them all
from models.sections import Database

Sessions = sessionmaker[Session]


def engine_options(settings: Database) -> dict[str, Any]:
    """Return what every engine of ours is made with; the portal hands the same to Flask-SQLAlchemy."""
    return {
        "pool_size": settings.pool_size,
        "max_overflow": settings.pool_size,
        "pool_pre_ping": True,
        "pool_timeout": 5,
        "connect_args": {
            "connect_timeout": 5,
            # A machine that is gone without a word is noticed, while a statement is waited for and while none is.
            "tcp_user_timeout": 10_000,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "application_name": "zenzefi",
            "options": (
                f"-c timezone=UTC -c statement_timeout={settings.statement_timeout_ms}"
                f" -c lock_timeout={settings.lock_timeout_ms} -c idle_in_transaction_session_timeout=60000"
            ),
        },
    }


def connect(settings: Database) -> Engine:
    """Make the engine of a process that is not the portal."""
    return create_engine(settings.url, **engine_options(settings))


def sessions(engine: Engine) -> Sessions:
    """Return a factory of sessions: `with sessions(engine).begin() as session` is one transaction."""
    return sessionmaker(engine, expire_on_commit=False)

"""Backdated transactions for a scratch database: clock and column defaults are in the past."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

from sqlalchemy import DateTime, Engine, text
from sqlalchemy.orm import Session

from models import clock
from models.base import Base
from models.database import Sessions

_SETTING = "zenzefi.days_ago"


class Backdating:
    """Opens transactions in the past; only for a scratch database."""

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        self.sessions = sessions
        with engine.begin() as connection:
            connection.execute(
                text(
                    "CREATE FUNCTION pretended_now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT clock_timestamp()"
                    f" - make_interval(secs => coalesce(nullif(current_setting('{_SETTING}', true), ''), '0')::float"
                    " * 86400) $$"
                )
            )
            for table in Base.metadata.sorted_tables:
                for column in table.columns:
                    if isinstance(column.type, DateTime) and column.server_default is not None:
                        connection.execute(
                            text(f'ALTER TABLE "{table.name}" ALTER "{column.name}" SET DEFAULT pretended_now()')
                        )

    @contextmanager
    def ago(self, days: float) -> Iterator[Session]:
        """Open a transaction that is dated `days` ago."""
        real = clock.now
        with patch.object(clock, "now", lambda: real() - timedelta(days=days)), self.sessions.begin() as session:
            session.execute(text("SELECT set_config(:name, :days, true)"), {"name": _SETTING, "days": str(days)})
            yield session

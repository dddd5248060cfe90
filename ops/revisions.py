"""Which revision the database is at, and which one the code wants; needs Alembic alone."""

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from models import config

FOLDER = config.DEFAULT_FILE.parent / "migrations"


def is_newest(engine: Engine) -> bool:
    """Say whether there is nothing to migrate."""
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_heads()
    return set(current) == set(ScriptDirectory(str(FOLDER)).get_heads())

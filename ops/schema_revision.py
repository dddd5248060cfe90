"""Alembic revision of the database and of the code; needs Alembic only."""

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from models.config import settings as config
from ops.console import Failure

FOLDER = config.DEFAULT_FILE.parent / "migrations"


def current(connection: Connection) -> tuple[str, ...]:
    """Return the revisions of a database; Alembic allows several."""
    return tuple(sorted(MigrationContext.configure(connection).get_current_heads()))


def is_newest(engine: Engine) -> bool:
    """Return whether there is nothing to migrate. Raises Failure for a database that is newer than this code."""
    with engine.connect() as connection:
        found = current(connection)
    require_known(found)
    return set(found) == set(ScriptDirectory(str(FOLDER)).get_heads())


def require_known(wanted: tuple[str, ...]) -> None:
    """Raise Failure when these revisions belong to newer code."""
    known = {script.revision for script in ScriptDirectory(str(FOLDER)).walk_revisions()}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise Failure(
            f"The database is at revision {', '.join(unknown)}, which this version does not know: upgrade first."
        )

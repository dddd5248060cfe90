"""What every job needs: the settings and a way to the database, made once in a process, on first use."""

from functools import cache

from models import config, database
from models.services.runtime import Cached


@cache
def settings_at_start() -> Cached:
    """Return the settings of this process as it was started, which know what was changed since."""
    return Cached(config.load())


def settings() -> config.Settings:
    """Return the settings that are good now, or were a second ago at most."""
    with sessions()() as session:
        return settings_at_start().get(session)


@cache
def sessions() -> database.Sessions:
    """Return the factory of sessions of this process."""
    return database.sessions(database.connect(settings_at_start().frozen.database))

"""What every job needs: the settings and a way to the database, made once in a process, on first use."""

from functools import cache

from models import config, database


@cache
def settings() -> config.Settings:
    """Return the settings of this process."""
    return config.load()


@cache
def sessions() -> database.Sessions:
    """Return the factory of sessions of this process."""
    return database.sessions(database.connect(settings().database))

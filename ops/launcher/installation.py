"""Data folder of an installation: paths, lock, secrets, and settings for commands that run beside `up`."""

import contextlib
import fcntl
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from models.config import settings as config
from ops import bootstrap
from ops.console import Failure
from ops.processes.child import MARK
from ops.processes.secret_files import private_folder, random_key, read_or_create_secret, readable_password
from ops.servers import PostgresServer, RedisServer

DATA = bootstrap.REPOSITORY / ".zenzefi"
SECRETS: Mapping[str, Callable[[], str]] = {
    "portal.secret_key": random_key,
    "tokens.hash_key": random_key,
    "tokens.mac_keys": random_key,
    "payments.mock_signing_key": random_key,
    "admin.password": readable_password,
}


class Folders:
    """Paths in the data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.secrets = data / "secrets"
        self.logs = data / "logs"
        self.run = data / "run"
        self.postgres = data / "postgres"
        self.redis = data / "redis"
        self.chosen = self.run / "chosen.json"

    def make(self) -> None:
        """Create the private folders. Raises Failure when they cannot be created or belong to another user."""
        try:
            # The user that PostgreSQL runs as for root must be able to pass through.
            self.data.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            for folder in (self.secrets, self.logs, self.run):
                private_folder(folder)
        except OSError as error:
            raise Failure(f"The data folder {self.data} cannot be used: {error.strerror}.") from None

    def postgres_server(self) -> PostgresServer:
        """Return the installation's PostgreSQL; it is not started."""
        log, mark = self.logs / "postgres.log", str(self.data)
        return PostgresServer(self.postgres, secrets=self.secrets, log=log, mark=mark)

    def redis_server(self) -> RedisServer:
        """Return the installation's Redis; it is not started."""
        log, mark = self.logs / "redis.log", str(self.data)
        return RedisServer(self.redis, secrets=self.secrets, log=log, mark=mark)


def lock_data_folder(folders: Folders) -> IO[str]:
    """Lock the data folder while the returned file is open; the lock ends with this process.

    Raises Failure while `up`, or a command that must not run beside it, holds the lock.
    """
    folders.make()
    lock = (folders.run / "up.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise Failure(f"Another ./zenzefi up (process {holder}) is using {folders.data}.") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


@contextmanager
def connected_installation(
    data: Path, *, alone: bool = False, environ: Mapping[str, str] = os.environ
) -> Iterator[config.Settings]:
    """Yield the settings of an installation whose database and Redis run.

    Its own servers are started and stopped again unless `up` runs them. With `alone`, raises Failure while `up` runs.
    """
    settings = settings_of(data, environ)
    folders = Folders(data.absolute())
    own: list[PostgresServer | RedisServer] = []
    if folders.postgres.is_dir() and not is_configured(environ, "database", "url"):
        own.append(folders.postgres_server())
    if folders.redis.is_dir() and not is_configured(environ, "redis", "url"):
        own.append(folders.redis_server())
    with ExitStack() as stack:
        if own:
            try:
                stack.enter_context(lock_data_folder(folders))
            except Failure:
                if alone:
                    raise Failure(f"Stop the ./zenzefi up that uses {folders.data} first.") from None
                own = []  # they run
        for server in own:
            stack.enter_context(server)
        yield settings


def save_chosen_settings(folders: Folders, chosen: Mapping[str, str]) -> None:
    """Store settings that a running `up` got from options or chose itself, such as ports, for other commands."""
    fresh = folders.chosen.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_text(json.dumps(dict(chosen)), encoding="utf-8")
    fresh.replace(folders.chosen)


def _chosen_settings(folders: Folders) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        chosen = json.loads(folders.chosen.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in chosen.items()}
    return {}


def settings_of(data: Path, environ: Mapping[str, str] = os.environ) -> config.Settings:
    """Return the settings of the installation in a data folder, or of the one in the environment.

    Raises Failure when there is none, or its settings are invalid.
    """
    folders = Folders(data.absolute())
    variables = {**_chosen_settings(folders), **bootstrap.child_environment(environ), MARK: str(folders.data)}
    if not is_configured(variables, "database", "url"):
        if not folders.postgres.is_dir():
            raise Failure(f"There is no installation in {data}; start one with ./zenzefi up, or set DATABASE_URL.")
        variables["DATABASE_URL"] = folders.postgres_server().url
    if not is_configured(variables, "redis", "url"):
        variables["REDIS_URL"] = folders.redis_server().url if folders.redis.is_dir() else "redis://127.0.0.1:6379/0"
    if folders.secrets.is_dir():
        add_secret_files(variables, folders.secrets)
        add_backup_folder(variables, folders)
    return load(variables)


def load(variables: Mapping[str, str]) -> config.Settings:
    """Load the settings. Raises Failure with the invalid setting."""
    try:
        return config.load_settings(variables)
    except config.ConfigError as error:
        raise Failure(str(error)) from None


def variable_of(section: str, key: str) -> str:
    """Return the environment variable of a setting."""
    return f"ZENZEFI_{section}__{key}".upper()


def add_secret_files(variables: dict[str, str], folder: Path) -> None:
    """Add the variables of the secret files, creating missing ones; secrets set by the caller stay."""
    for name, make in SECRETS.items():
        variable = variable_of(*name.split("."))
        if not variables.get(variable) and not variables.get(f"{variable}_FILE"):
            read_or_create_secret(folder / name, make)
            variables[f"{variable}_FILE"] = str(folder / name)


def add_backup_folder(variables: dict[str, str], folders: Folders) -> None:
    """Add the folder of the backups, unless it is configured, also as empty."""
    variable = variable_of("backup", "folder")
    if variable not in variables and not is_configured(variables, "backup", "folder"):
        variables[variable] = str(folders.data / "backups")


def is_configured(variables: Mapping[str, str], section: str, key: str) -> bool:
    """Return whether the environment or config.toml sets a value."""
    variable = variable_of(section, key)
    if any(variables.get(name) for name in (variable, f"{variable}_FILE", f"{section}_{key}".upper())):
        return True
    file = Path(variables.get("ZENZEFI_CONFIG") or config.DEFAULT_FILE)
    try:
        return bool(tomllib.loads(file.read_text(encoding="utf-8")).get(section, {}).get(key))
    except (OSError, ValueError):
        return False  # `load` reports the error

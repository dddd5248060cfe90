"""What `up` is going to run: folders, secrets, settings, and which servers are its own. Nothing is started here."""

import os
import shutil
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import redis

from models import config
from ops import bootstrap
from ops.addresses import LOOPBACK, free_port, why_not_bindable
from ops.console import Failure, complain
from ops.processes import MARK
from ops.secret_files import kept, private_folder, random_key, readable_password
from ops.servers import PostgresServer, RedisServer

SECRETS: Mapping[str, Callable[[], str]] = {
    "portal.secret_key": random_key,
    "tokens.hash_key": random_key,
    "tokens.mac_keys": random_key,
    "payments.mock_signing_key": random_key,
    "admin.password": readable_password,
}
NEEDED_MB, NEEDED_MB_AGAIN = 300, 50


@dataclass(frozen=True)
class Options:
    """What the command line said; None and 0 stand for "not said"."""

    data: Path
    portal_port: int | None = None
    proxy_port: int | None = None
    workers: int | None = None
    upstream: str | None = None
    ready_file: Path | None = None


class Folders:
    """The places below the data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.secrets = data / "secrets"
        self.logs = data / "logs"
        self.run = data / "run"
        self.postgres = data / "postgres"
        self.redis = data / "redis"

    def make(self) -> None:
        """Make what only this user may enter. Raises Failure when the folder is somebody else's, or cannot be made."""
        try:
            # The user that PostgreSQL runs as for root must be able to pass through.
            self.data.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            for folder in (self.secrets, self.logs, self.run):
                private_folder(folder)
        except OSError as error:
            raise Failure(f"The data folder {self.data} cannot be used: {error.strerror}.") from None


@dataclass(frozen=True)
class Plan:
    """Everything that is known before the first process starts."""

    folders: Folders
    settings: config.Settings
    environment: Mapping[str, str]
    postgres: PostgresServer | None
    redis: RedisServer | None
    upstream_port: int | None  # of the sample upstream; None when a real one is configured


def make_plan(options: Options, folders: Folders, environ: Mapping[str, str]) -> Plan:
    """Read the settings and check everything that can be checked beforehand.

    Raises Failure with one sentence when a port is taken, the disk is full, or an address is wrong.
    """
    variables = {**bootstrap.child_environment(environ), MARK: str(folders.data)}
    _give_secrets(variables, folders.secrets)
    _give_options(variables, options)
    mark, logs, secrets = str(folders.data), folders.logs, folders.secrets
    if _variable("proxy", "access_log") not in variables and not _is_configured(variables, "proxy", "access_log"):
        variables[_variable("proxy", "access_log")] = str(logs / "access.log")
    postgres = database = None
    if not _is_configured(variables, "database", "url"):
        postgres = PostgresServer(folders.postgres, secrets=secrets, log=logs / "postgres.log", mark=mark)
        variables["DATABASE_URL"] = postgres.url
    if not _is_configured(variables, "redis", "url"):
        database = RedisServer(folders.redis, secrets=secrets, log=logs / "redis.log", mark=mark)
        variables["REDIS_URL"] = database.url
    settings = _load(variables)
    _check_ports(settings)
    _check_space(folders, is_first=postgres is not None and not postgres.data.exists())
    upstream_port = None
    if settings.upstream.url:
        _check_upstream(settings.upstream.url)
    else:
        upstream_port = free_port()
        variables["ZENZEFI_UPSTREAM__URL"] = f"http://{LOOPBACK}:{upstream_port}"
        settings = _load(variables)
    if postgres is None:
        _check_database(settings.database.url)
    if database is None:
        _check_redis(settings.redis.url)
    return Plan(folders, settings, variables, postgres, database, upstream_port)


def _load(variables: Mapping[str, str]) -> config.Settings:
    try:
        return config.load(variables)
    except config.ConfigError as error:
        raise Failure(str(error)) from None


def _variable(section: str, key: str) -> str:
    return f"ZENZEFI_{section}__{key}".upper()


def _give_secrets(variables: dict[str, str], folder: Path) -> None:
    """Name the files of the secrets, making those that are missing; what the caller has set stays."""
    for name, make in SECRETS.items():
        variable = _variable(*name.split("."))
        if not variables.get(variable) and not variables.get(f"{variable}_FILE"):
            kept(folder / name, make)
            variables[f"{variable}_FILE"] = str(folder / name)


def _give_options(variables: dict[str, str], options: Options) -> None:
    given = {
        ("portal", "port"): options.portal_port,
        ("proxy", "port"): options.proxy_port,
        ("proxy", "workers"): options.workers,
        ("upstream", "url"): options.upstream,
    }
    for (section, key), value in given.items():
        if value is not None:
            chosen = free_port() if value == 0 and key == "port" else value
            variables[_variable(section, key)] = str(chosen)
            variables.pop(f"{_variable(section, key)}_FILE", None)


def _is_configured(variables: Mapping[str, str], section: str, key: str) -> bool:
    """Tell whether the environment or config.toml says it."""
    variable = _variable(section, key)
    if any(variables.get(name) for name in (variable, f"{variable}_FILE", f"{section}_{key}".upper())):
        return True
    file = Path(variables.get("ZENZEFI_CONFIG") or config.DEFAULT_FILE)
    try:
        return bool(tomllib.loads(file.read_text(encoding="utf-8")).get(section, {}).get(key))
    except (OSError, ValueError):
        return False  # `load` says it better


def _check_ports(settings: config.Settings) -> None:
    portal, proxy = settings.portal, settings.proxy
    if portal.port == proxy.port:
        raise Failure(f"Portal and proxy cannot both use port {portal.port}.")
    for name, option, part in (("portal", "--portal-port", portal), ("proxy", "--proxy-port", proxy)):
        reason = why_not_bindable(part.host, part.port)
        if reason:
            raise Failure(f"Port {part.port} for the {name} {reason}; choose another one with {option}.")


def _check_space(folders: Folders, *, is_first: bool) -> None:
    free, needed = shutil.disk_usage(folders.data).free // 2**20, NEEDED_MB if is_first else NEEDED_MB_AGAIN
    if free < needed:
        raise Failure(f"Only {free} MB are free in {folders.data}; {needed} MB are needed.")


def _check_upstream(url: str) -> None:
    """Refuse an upstream whose name does not exist; one that is merely down may come back."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise Failure(f"The upstream {url} cannot be found: {reason}.") from None
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError as error:
        complain(f"The upstream {url} does not answer now ({error}); the proxy will say so until it does.")


def _check_database(url: str) -> None:
    try:
        psycopg2.connect(url.replace("+psycopg2", "", 1), connect_timeout=5).close()
    except psycopg2.Error as error:
        reason = (str(error).strip().splitlines() or ["no reason was given"])[0]
        raise Failure(f"The database that DATABASE_URL names cannot be used: {reason}") from None


def _check_redis(url: str) -> None:
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise Failure(f"The Redis that REDIS_URL names cannot be used: {error}") from None

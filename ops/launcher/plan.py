"""Plan of `up`: folders, secrets, settings, ports, and which servers it starts. Nothing is started here."""

import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import redis

from models.config import settings as config
from models.lazy_modules import LazyModule
from ops import bootstrap
from ops.console import Failure, print_error
from ops.launcher.installation import Folders, add_backup_folder, add_secret_files, is_configured, load, variable_of
from ops.processes.child import MARK
from ops.processes.ports import LOOPBACK, bind_error, free_port
from ops.servers import PostgresServer, RedisServer

if TYPE_CHECKING:
    from ops.servers import poolers
else:
    # Needs SQLAlchemy and all tables, and only with a database of one's own.
    poolers = LazyModule("ops.servers.poolers")

NEEDED_MB, NEEDED_MB_AGAIN = 300, 50


# Variables for any program: paths, locale, and trusted certificate authorities.
GENERAL_VARIABLES = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "NO_COLOR",
)
GENERAL_PREFIXES = ("LC_", "PYTHON", "SSL_CERT_", "COV")
# Prefixes of further variables for the platform's processes: its settings, libpq's, and HTTP proxies for providers. The
# rest of the caller's environment may contain secrets and is not passed on.
PLATFORM_PREFIXES = (
    config.PREFIX,
    *config.SHORT_NAMES,
    "PG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
)


@dataclass(frozen=True)
class Options:
    """Options of the command line; None stands for "not given"."""

    data: Path
    portal_port: int | None = None
    proxy_port: int | None = None
    workers: int | None = None
    upstream: str | None = None
    ready_file: Path | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before the first process starts."""

    folders: Folders
    settings: config.Settings
    environment: Mapping[str, str]
    chosen: Mapping[str, str]  # the part of it from options or chosen here
    postgres: PostgresServer | None
    redis: RedisServer | None
    upstream_port: int | None  # port of the sample upstream; None when a real one is configured

    def general_environment(self) -> dict[str, str]:
        """Return the environment of a program that needs no settings of the platform; it has no secrets."""
        return {
            name: value
            for name, value in self.environment.items()
            if name in {*GENERAL_VARIABLES, MARK} or name.startswith(GENERAL_PREFIXES)
        }

    def part_environment(self, *, prepares: bool = False) -> dict[str, str]:
        """Return the environment of a part of the platform; only the first run gets the first admin's password."""
        admin = variable_of("admin", "password")
        settings = {
            name: value
            for name, value in self.environment.items()
            if name.upper().startswith(PLATFORM_PREFIXES) and (prepares or name not in {admin, f"{admin}_FILE"})
        }
        return self.general_environment() | settings


def make_plan(options: Options, folders: Folders, environ: Mapping[str, str]) -> Plan:
    """Load the settings and check everything that can be checked before the start.

    Raises Failure when a port is taken, the disk is full, or an address is wrong.
    """
    variables = {**bootstrap.child_environment(environ), MARK: str(folders.data)}
    add_secret_files(variables, folders.secrets)
    original = dict(variables)
    _give_options(variables, options)
    logs = folders.logs
    if variable_of("proxy", "access_log") not in variables and not is_configured(variables, "proxy", "access_log"):
        variables[variable_of("proxy", "access_log")] = str(logs / "access.log")
    add_backup_folder(variables, folders)
    postgres = database = None
    if not is_configured(variables, "database", "url"):
        postgres = folders.postgres_server()
        variables["DATABASE_URL"] = postgres.url
    if not is_configured(variables, "redis", "url"):
        database = folders.redis_server()
        variables["REDIS_URL"] = database.url
    settings = load(variables)
    _check_ports(settings)
    _check_space(folders, is_first=postgres is not None and not postgres.data.exists())
    upstream_port = None
    if settings.upstream.url:
        _check_upstream(settings.upstream.url)
    else:
        upstream_port = free_port()
        variables["ZENZEFI_UPSTREAM__URL"] = f"http://{LOOPBACK}:{upstream_port}"
        settings = load(variables)
    if postgres is None:
        poolers.require_session_pooling(settings.database)
    if database is None:
        _check_redis(settings.redis.url)
    ours = {name for name, value in variables.items() if name.startswith(config.PREFIX) and original.get(name) != value}
    own = {name: variables[name] for name in ours}
    return Plan(folders, settings, variables, own, postgres, database, upstream_port)


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
            variables[variable_of(section, key)] = str(chosen)
            variables.pop(f"{variable_of(section, key)}_FILE", None)


def _check_ports(settings: config.Settings) -> None:
    portal, proxy = settings.portal, settings.proxy
    if portal.port == proxy.port:
        raise Failure(f"Portal and proxy cannot both use port {portal.port}.")
    for name, option, part in (("portal", "--portal-port", portal), ("proxy", "--proxy-port", proxy)):
        reason = bind_error(part.host, part.port)
        if reason:
            raise Failure(f"Port {part.port} for the {name} {reason}; choose another one with {option}.")


def _check_space(folders: Folders, *, is_first: bool) -> None:
    free, needed = shutil.disk_usage(folders.data).free // 2**20, NEEDED_MB if is_first else NEEDED_MB_AGAIN
    if free < needed:
        raise Failure(f"Only {free} MB are free in {folders.data}; {needed} MB are needed.")


def _check_upstream(url: str) -> None:
    """Raise Failure for an upstream whose name does not resolve; one that is down may come back."""
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
        print_error(f"The upstream {url} does not answer now ({error}); the proxy responds with errors until it does.")


def _check_redis(url: str) -> None:
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise Failure(f"The Redis at REDIS_URL cannot be used: {error}") from None

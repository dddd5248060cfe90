"""Private PostgreSQL server in a folder: created on first use, accessible to its owner only."""

import locale
import os
import shutil
import signal
import subprocess
from functools import cached_property
from pathlib import Path

import psycopg2
from psycopg2 import sql

from ops.console import Failure
from ops.processes import stale, unix_account
from ops.processes.child import MARK, Child, last_line
from ops.processes.ports import LOOPBACK
from ops.processes.secret_files import read_or_create_secret
from ops.servers.binaries import Postgres, find_postgres
from ops.servers.private_server import PrivateServer

ADMIN = "postgres"
ROLE = "zenzefi"  # owner of the database of the same name, not a superuser
SOCKET_PORT = 5432  # only names the socket file
SETTINGS = {
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
}
# Failed and slow statements must not leave values in the server's log: an INSERT of a user contains a password hash,
# and the DETAIL of a duplicate key the e-mail address. TERSE omits DETAIL, PANIC the statement.
QUIET_LOG = {
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
# A temporary server need not survive a power cut; committed data survives a kill.
FAST = {"fsync": "off", "full_page_writes": "off", "autovacuum_naptime": "10min"}


class PostgresServer(PrivateServer):
    """`with PostgresServer(folder) as server:` creates a database cluster if needed, starts it and stops it again.

    Data and socket are in `folder`, passwords in `secrets` (default: a folder beside it); both are created if missing.
    """

    _provisioned = False

    @property
    def data(self) -> Path:
        """The folder of the cluster."""
        return self.folder / "data"

    @property
    def default_secrets(self) -> Path:
        return self.folder.with_name(self.folder.name + "-secrets")

    @property
    def longest_socket_path(self) -> Path:
        return self._socket / f".s.PGSQL.{SOCKET_PORT}.lock"

    @property
    def url(self) -> str:
        """The address of the database `zenzefi`, with its role and password."""
        return self._address(ROLE, ROLE)

    @cached_property
    def child(self) -> Child:
        """The server's process; call `prepare` before it is spawned."""
        return Child(
            name="postgres",
            command=self._command(),
            prefix=self._account.prefix,
            log=self._log,
            environment=self._environment(),
            ready=lambda _: self._is_ready(),
            stop_signal=signal.SIGINT,  # "fast" shutdown: ends connections and writes a checkpoint
            stop_seconds=30.0,
            death_signal=signal.SIGINT,
        )

    def prepare(self) -> None:
        """Create the cluster if needed, and end a server that a killed launcher left behind."""
        self._secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        account = self._account
        if not self.data.exists():
            self._initialise(account)
        elif not (self._secrets / "postgres.admin_password").exists():
            raise Failure(f"The passwords of the database in {self.folder} are missing from {self._secrets}.")
        self._make_folder(self._socket, account)
        if not stale.end(stale.with_working_folder(self.data.resolve()), signal.SIGINT, 20):
            raise Failure(f"Another PostgreSQL uses {self.data} and cannot be stopped.")
        # No server uses the folder now. After a crash of the machine the process id in this file may belong to another
        # program, and PostgreSQL would refuse to start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    @cached_property
    def _binaries(self) -> Postgres:
        try:
            major = int((self.data / "PG_VERSION").read_text())
        except FileNotFoundError:
            return find_postgres()
        except PermissionError:
            raise Failure(f"{self.folder} belongs to another user; use another --data folder.") from None
        return find_postgres(major)

    @cached_property
    def _account(self) -> unix_account.Account:
        return unix_account.choose(self.folder, self._binaries.folder / "postgres")

    def _initialise(self, account: unix_account.Account) -> None:
        """Run initdb in a temporary folder and rename it when it succeeded."""
        fresh, password_file = self.folder / "data.new", self.folder / "password.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._make_folder(fresh, account)
        password_file.touch(0o600)
        password_file.write_text(self._password(ADMIN) + "\n")
        os.chown(password_file, account.uid, account.gid)
        command = [*account.prefix, str(self._binaries.folder / "initdb"), "-D", str(fresh), f"--username={ADMIN}"]
        command += [f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8", f"--locale={_locale()}"]
        command += ["--no-sync"] if self.fast else []
        with self._log.open("ab") as log:
            done = subprocess.run(
                command, stdout=log, stderr=log, env=self._environment(), cwd="/", check=False, stdin=subprocess.DEVNULL
            )
        password_file.unlink()
        if done.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise Failure(f"initdb could not create a database in {self.folder}: {last_line(self._log)}")
        fresh.rename(self.data)

    def _command(self) -> list[str]:
        settings = SETTINGS | QUIET_LOG | (FAST if self.fast else {})
        if self._port:
            settings |= {"listen_addresses": LOOPBACK, "port": str(self._port), "unix_socket_directories": ""}
        else:
            settings |= {"listen_addresses": "", "port": str(SOCKET_PORT)}
            settings |= {"unix_socket_directories": str(self._socket)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._binaries.folder / "postgres"), "-D", str(self.data), *options]

    def _environment(self) -> dict[str, str]:
        """Return an environment without the caller's PG* variables, which PostgreSQL would read."""
        environment = {"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC", "LC_ALL": _locale()}
        return environment | ({MARK: self._mark} if self._mark else {})

    def _is_ready(self) -> bool:
        """Return whether the database is usable; the first time, create role and database."""
        try:
            if not self._provisioned:
                self._provision()
                self._provisioned = True
            psycopg2.connect(self.url, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _provision(self) -> None:
        connection = psycopg2.connect(self._address(ADMIN, ADMIN), connect_timeout=2)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
                if cursor.fetchone() is None:
                    order = sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}")
                    cursor.execute(order.format(sql.Identifier(ROLE), sql.Literal(self._password(ROLE))))
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (ROLE,))
                if cursor.fetchone() is None:
                    order = sql.SQL("CREATE DATABASE {} OWNER {}")
                    cursor.execute(order.format(sql.Identifier(ROLE), sql.Identifier(ROLE)))
        finally:
            connection.close()

    def _password(self, role: str) -> str:
        name = "postgres.admin_password" if role == ADMIN else "postgres.password"
        return read_or_create_secret(self._secrets / name)

    def _address(self, role: str, database: str) -> str:
        login = f"postgresql://{role}:{self._password(role)}@"
        if self._port:
            return f"{login}{LOOPBACK}:{self._port}/{database}"
        return f"{login}/{database}?host={self._socket}&port={SOCKET_PORT}"

    @staticmethod
    def _make_folder(folder: Path, account: unix_account.Account) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, account.uid, account.gid)


def _locale() -> str:
    """Return C.UTF-8, which sorts by code point, or C where it is missing."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        return "C"
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return "C.UTF-8"

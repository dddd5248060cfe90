"""Run pg_dump and pg_restore with the address in the environment, so that `ps` shows no password."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO

import psycopg2
from psycopg2.extensions import parse_dsn
from sqlalchemy.engine import make_url

from ops.console import Failure
from ops.servers.binaries import find_postgres

INDEX_MEMORY = "256MB"


def plain_url(url: str, database: str | None = None) -> str:
    """Return a URL for libpq, optionally of another database on the same server."""
    there = make_url(url).set(drivername="postgresql")
    return (there.set(database=database) if database else there).render_as_string(hide_password=False)


def major_of(url: str) -> int:
    """Return the major version of a server. Raises Failure when it is unreachable."""
    try:
        connection = psycopg2.connect(plain_url(url), connect_timeout=5)
    except psycopg2.OperationalError as error:
        raise Failure(f"The database does not answer: {str(error).strip().splitlines()[0]}") from None
    version: int = connection.server_version
    connection.close()
    return version // 10000


@contextmanager
def dump(url: str, snapshot: str) -> Iterator[IO[bytes]]:
    """Yield the stream of a dump of one snapshot. Raises Failure when pg_dump fails."""
    command = [_program("pg_dump", url), "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
    with _running(command, url, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        yield process.stdout


@contextmanager
def restore(url: str) -> Iterator[IO[bytes]]:
    """Yield a stream for a dump that is restored into an empty database. Raises Failure at the first error."""
    command = [_program("pg_restore", url), "--no-owner", "--no-privileges", "--exit-on-error"]
    command.append(f"--dbname={parse_dsn(plain_url(url))['dbname']}")
    # Most of the time is spent on building indexes.
    memory = {"PGOPTIONS": f"-c maintenance_work_mem={INDEX_MEMORY}"}
    with _running(command, url, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, more=memory) as process:
        assert process.stdin is not None  # noqa: S101 - for the type checker
        yield process.stdin


@contextmanager
def _running(
    command: list[str], url: str, *, stdin: int, stdout: int, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator["subprocess.Popen[bytes]"]:
    name, environment = Path(command[0]).name, {**_environment(url), **more}
    process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=environment)
    try:
        broken = None
        try:
            yield process
            if process.stdin is not None:
                process.stdin.close()
        except BrokenPipeError as error:
            broken = error  # the program has failed and reports the reason itself
        assert process.stderr is not None  # noqa: S101 - for the type checker
        output = process.stderr.read().decode(errors="replace").strip()
        if process.wait() != 0 or broken is not None:
            raise Failure(f"{name} failed: {output.splitlines()[0] if output else f'exit code {process.returncode}'}")
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                with contextlib.suppress(BrokenPipeError):  # unwritten data has no reader any more
                    stream.close()


def _program(name: str, url: str) -> str:
    """Return the program of the server's major version: an older one cannot read the server, a newer one may write what
    the server cannot read back.
    """
    major = major_of(url)
    path = find_postgres(major).folder / name
    if not os.access(path, os.X_OK):
        raise Failure(f"{path.parent} has no {name}: install postgresql-client-{major}.")
    return str(path)


def _environment(url: str) -> dict[str, str]:
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    names |= {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"}
    given = parse_dsn(plain_url(url))
    return {"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC"} | {
        variable: given[name] for name, variable in names.items() if given.get(name)
    }

"""Restore a backup, or try one in a drill.

1. The file matches its manifest, and this code knows its schema revision.
2. The dump is restored into a scratch database on the same server. The real database is not touched until here.
3. The scratch database has as many transfers as the manifest says, and ledger verification passes.
4. In one transaction the real database is renamed and the scratch database gets its name.
5. Keys cached in Redis are deleted: a token sold after the backup must not grant access.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg2
import pyrage
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class under a lower-case name
from redis import Redis
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from models import clock
from models.config.settings import Settings
from models.services import messages
from models.services.audit import hash_chain
from models.services.ledger import verification as ledger_verification
from ops import schema_revision
from ops.backups import encryption, pg_tools
from ops.backups.chain_heads import ChainHeads
from ops.backups.manifest import BLOCK, STALE, Manifest, verify_file
from ops.console import Failure, Step
from ops.servers import poolers

REDIS_KEYS = "zenzefi:*"
NAME_TIME = "%Y%m%d%H%M%S"  # the time in the name of a scratch database


@dataclass(frozen=True, slots=True)
class Restored:
    """Result of a restore; `kept` is the name of the replaced database, if it was kept."""

    manifest: Manifest
    report: ledger_verification.Report
    seconds: float
    kept: str | None = None


def restore(settings: Settings, dump: Path, *, identities: Path | None, keep_old: bool) -> Restored:
    """Replace the database by a backup. Raises Failure, and then the database is unchanged."""
    with Redis.from_url(settings.redis.url) as redis:
        redis.ping()  # fail now and not after the restore
    with _scratch(settings, dump, identities) as (name, found):
        real = str(make_url(settings.database.direct_url).database)
        old = f"{real}_before_{clock.now():%Y%m%d_%H%M%S}"
        with Step("Replacing the database"):
            _swap(settings, real, name, old)
            try:
                delete_cached_keys(settings)
                _note_audit_head(settings)
            except BaseException:
                _swap(settings, real, old, name)
                raise
        if not keep_old:
            with Step("Dropping the replaced database"), _maintenance(settings) as server:
                _drop(server, old)
    return Restored(found.manifest, found.report, found.seconds, old if keep_old else None)


def drill(settings: Settings, dump: Path, *, identities: Path | None) -> Restored:
    """Restore into a scratch database, verify it, and drop it. Raises Failure when the backup is unusable."""
    with _scratch(settings, dump, identities) as (_, found):
        return found


def delete_cached_keys(settings: Settings) -> None:
    """Delete all keys of the platform in Redis."""
    with Redis.from_url(settings.redis.url) as redis:
        for key in redis.scan_iter(match=REDIS_KEYS, count=1000):
            redis.delete(key)


@contextmanager
def _scratch(settings: Settings, dump: Path, identities: Path | None) -> Iterator[tuple[str, Restored]]:
    """Yield the name of a scratch database restored from the backup and verified; it is dropped unless renamed."""
    poolers.require_session_pooling(settings.database)
    with Step("Checking the file"):
        manifest = verify_file(dump)
        schema_revision.require_known(manifest.revisions)
        keys = _identities(manifest, identities)
    prefix, began = f"{make_url(settings.database.direct_url).database}_restore_", time.monotonic()
    name = f"{prefix}{clock.now():{NAME_TIME}}_{os.getpid()}"
    with _maintenance(settings) as server:
        for left in _names(server, prefix):
            if left < f"{prefix}{clock.now() - STALE:{NAME_TIME}}":
                _drop(server, left)  # of a killed run: as large as the database itself
    try:
        with _maintenance(settings) as server:
            _create(server, name)
        url = pg_tools.plain_url(settings.database.direct_url, name)
        with Step("Restoring into a scratch database"), dump.open("rb") as file, pg_tools.restore(url) as stream:
            _copy(file, stream, keys)
        with Step("Collecting statistics"):
            _analyze(url)
        with Step("Verifying the ledger"):
            report = _verify_ledger(url, manifest)
        yield name, Restored(manifest, report, time.monotonic() - began)
    finally:
        with _maintenance(settings) as server:
            _drop(server, name)


def _identities(manifest: Manifest, path: Path | None) -> list[pyrage.x25519.Identity]:
    """Return the private keys for an encrypted backup, none for a plain one."""
    if not manifest.is_encrypted:
        return []
    if path is None:
        raise Failure("The backup is encrypted: name the file with the private key by --identity.")
    return read_identities(path)


def read_identities(path: Path) -> list[pyrage.x25519.Identity]:
    """Read private keys, as `age-keygen` writes them. Raises Failure."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path} cannot be read: {error}.") from None
    except pyrage.IdentityError as error:
        raise Failure(f"{path} holds no age private key: {error}.") from None
    if not found:
        raise Failure(f"{path} holds no age private key.")
    return found


def _copy(file: IO[bytes], stream: IO[bytes], keys: list[pyrage.x25519.Identity]) -> None:
    if not keys:
        while block := file.read(BLOCK):
            stream.write(block)
        return
    encryption.decrypt(file, stream, keys, "The backup")


def _analyze(url: str) -> None:
    """Collect planner statistics, which a dump does not contain."""
    connection = psycopg2.connect(url, connect_timeout=5)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    finally:
        connection.close()


def _verify_ledger(url: str, manifest: Manifest) -> ledger_verification.Report:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"))
    try:
        with Session(engine) as session:
            report = ledger_verification.verify(session)
    finally:
        engine.dispose()
    if report.transfers != manifest.transfers:
        raise Failure(f"The backup holds {report.transfers} transfers; its manifest says {manifest.transfers}.")
    if not report.is_sound:
        faults = "; ".join(map(messages.ledger_rule_text, report.faults))
        raise Failure(f"Ledger verification of the backup failed: {faults}.")
    return report


def _note_audit_head(settings: Settings) -> None:
    """Record the head of the restored audit chain: rows chained after the backup are missing legitimately."""
    engine = create_engine(make_url(settings.database.direct_url).set(drivername="postgresql+psycopg2"))
    try:
        with Session(engine) as session:
            head = hash_chain.head(session)
    except ProgrammingError:
        return  # a backup from before the hash chain
    finally:
        engine.dispose()
    if settings.backup.folder:
        ChainHeads(Path(settings.backup.folder)).note(head.number, head.hash, restored=True)


@contextmanager
def _maintenance(settings: Settings) -> Iterator[Connection]:
    """Connect to the server's maintenance database, which is neither renamed nor dropped."""
    connection = psycopg2.connect(pg_tools.plain_url(settings.database.direct_url, "postgres"), connect_timeout=5)
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


def _names(server: Connection, prefix: str) -> list[str]:
    """Return the names of existing scratch databases."""
    with server.cursor() as cursor:
        cursor.execute(
            "SELECT datname FROM pg_database WHERE datname ~ %s", (f"^{re.escape(prefix)}[0-9]{{14}}_[0-9]+$",)
        )
        return [name for (name,) in cursor.fetchall()]


def _create(server: Connection, name: str) -> None:
    with server.cursor() as cursor:
        try:
            cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        except psycopg2.errors.InsufficientPrivilege:
            raise Failure("The database role cannot create databases: ALTER ROLE … CREATEDB.") from None


def _drop(server: Connection, name: str) -> None:
    with server.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _swap(settings: Settings, real: str, fresh: str, old: str) -> None:
    """Rename the real database to `old` and the fresh one to the real name, in one transaction."""
    names = {"real": sql.Identifier(real), "fresh": sql.Identifier(fresh), "old": sql.Identifier(old)}
    with _maintenance(settings) as server, server.cursor() as cursor:
        cursor.execute(sql.SQL("ALTER DATABASE {real} ALLOW_CONNECTIONS false").format(**names))
        try:
            cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (real,))
            server.autocommit = False
            cursor.execute(sql.SQL("ALTER DATABASE {real} RENAME TO {old}").format(**names))
            cursor.execute(sql.SQL("ALTER DATABASE {fresh} RENAME TO {real}").format(**names))
            server.commit()
        except psycopg2.Error as error:
            server.rollback()
            raise Failure(f"The database could not be replaced: {str(error).strip()}") from None
        finally:
            server.autocommit = True
            cursor.execute(
                "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname IN (%s, %s)", (real, old)
            )
            for (closed,) in cursor.fetchall():
                order = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true")
                cursor.execute(order.format(sql.Identifier(closed)))

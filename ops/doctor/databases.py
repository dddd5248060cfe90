"""Checks of PostgreSQL and Redis: version, permissions, schema revision, connections, memory and persistence."""

from collections.abc import Iterator
from typing import Any

from alembic.script import ScriptDirectory
from redis import Redis
from sqlalchemy import Connection, text

from models.base import Base
from ops import schema_revision
from ops.doctor import server_log
from ops.doctor.findings import Finding, Installation, Section
from ops.servers import poolers

TIMEOUT_SECONDS = 3.0
# 15 has NULLS NOT DISTINCT; 18 is the newest that the tests run on.
OLDEST_POSTGRES, NEWEST_POSTGRES = 15, 18
OLDEST_REDIS = (6, 2)
BUSY = 0.8
LONG_TRANSACTION_SECONDS = 600

_STATE = text("""
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
        current_setting('max_connections')::int AS most, current_setting('server_encoding') AS encoding,
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
        (SELECT coalesce(extract(epoch FROM max(now() - xact_start)), 0) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()) AS oldest,
        pg_is_in_recovery() AS is_standby, r.rolsuper AS is_super, r.rolcreatedb OR r.rolsuper AS may_create,
        EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') AS has_trigrams,
        pg_database_size(current_database()) AS size
    FROM pg_roles r WHERE r.rolname = current_user""")
_FORBIDDEN = text("""
    SELECT name FROM unnest(CAST(:names AS text[])) AS name
    WHERE to_regclass(quote_ident(name)) IS NOT NULL
        AND NOT (has_table_privilege(quote_ident(name), 'SELECT') AND has_table_privilege(quote_ident(name), 'INSERT')
            AND has_table_privilege(quote_ident(name), 'UPDATE') AND has_table_privilege(quote_ident(name), 'DELETE'))
    ORDER BY name""")


def connect(url: str) -> Redis:
    """Return a Redis client with a short time-out."""
    return Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)


def examine_postgres(installation: Installation) -> Iterator[Finding]:
    """Check the server, the schema and the permissions of the database role."""
    with installation.sessions() as session:
        connection = session.connection()
        state: Any = connection.execute(_STATE).one()
        known = OLDEST_POSTGRES <= state.major <= NEWEST_POSTGRES
        seen = f"PostgreSQL {state.version}, {state.size / 2**20:,.0f} MB"
        do = f"Move to a PostgreSQL from {OLDEST_POSTGRES} to {NEWEST_POSTGRES} by backup and restore."
        is_old = state.major < OLDEST_POSTGRES
        yield Finding(
            "PostgreSQL answers and its version is supported", known, seen, do, Section.SERVER_VERSIONS, is_old
        )
        seen = "it is a standby" if state.is_standby else "yes"
        do = "Point DATABASE_URL at the primary server."
        yield Finding("The database can be written to", not state.is_standby, seen, do, Section.POSTGRESQL)
        route = poolers.find_route(installation.settings.database)
        do = "Set [database] listen_url to the address of PostgreSQL itself, in the same database as DATABASE_URL."
        yield Finding("Cache-invalidation messages arrive", route.is_notified, str(route), do, Section.POOLERS)
        yield from server_log.examine(connection)
        yield _migrations(connection)
        yield from _permissions(installation, connection, state)
        has_room = state.used < state.most * BUSY
        do = "Raise max_connections, or lower [database] pool_size."
        seen = f"{state.used} of {state.most} used"
        yield Finding("Database connections are available", has_room, seen, do, Section.CONNECTIONS, is_urgent=False)
        is_short = state.oldest < LONG_TRANSACTION_SECONDS
        do = "Find it in pg_stat_activity; pg_terminate_backend() ends it."
        seen = f"the oldest is {state.oldest:.0f} s old"
        yield Finding("No transaction is open for long", is_short, seen, do, Section.CONNECTIONS, is_urgent=False)


def _migrations(connection: Connection) -> Finding:
    here = set(schema_revision.current(connection))
    heads = set(ScriptDirectory(str(schema_revision.FOLDER)).get_heads())
    seen = f"{_named(here)}" + ("" if here == heads else f"; the code needs {_named(heads)}")
    do = "Start ./zenzefi up, which migrates, or deploy the release that matches the database."
    return Finding("The database schema is up to date", here == heads, seen, do, Section.MIGRATIONS)


def _permissions(installation: Installation, connection: Connection, state: Any) -> Iterator[Finding]:
    forbidden = list(connection.scalars(_FORBIDDEN, {"names": sorted(Base.metadata.tables)}))
    seen = f"not {', '.join(forbidden[:4])}" if forbidden else "all of them"
    do = "Make the role the owner: REASSIGN OWNED BY …, or GRANT ALL ON ALL TABLES IN SCHEMA public."
    yield Finding("The database role can read and write every table", not forbidden, seen, do, Section.PERMISSIONS)
    do = "CREATE EXTENSION pg_trgm; (postgresql-contrib has it)."
    seen = "installed" if state.has_trigrams else "missing: user search scans whole tables"
    yield Finding(
        "The extension pg_trgm is installed", bool(state.has_trigrams), seen, do, Section.PERMISSIONS, is_urgent=False
    )
    do = "ALTER ROLE … CREATEDB: restores and drills need it."
    seen = "yes" if state.may_create else "no"
    what = "The database role can create the scratch database of a restore"
    yield Finding(what, bool(state.may_create), seen, do, Section.PERMISSIONS, is_urgent=False)
    if installation.settings.platform.is_production:
        do = "Use a role that owns only the platform's database."
        seen = "a superuser" if state.is_super else "an ordinary role"
        yield Finding(
            "The database role is not a superuser", not state.is_super, seen, do, Section.PERMISSIONS, is_urgent=False
        )
    do = "Restore a backup into a database with ENCODING 'UTF8'."
    yield Finding("Text is stored as UTF-8", state.encoding == "UTF8", state.encoding, do, Section.PERMISSIONS)


def examine_redis(installation: Installation) -> Iterator[Finding]:
    """Check version, eviction policy, memory and persistence of Redis."""
    with connect(installation.settings.redis.url) as redis:
        info: Any = redis.info()
    version = str(info.get("redis_version", "0"))
    known = tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_REDIS
    other = str(info.get("server_name", "redis")).capitalize()
    name = f"Redis {version}" if other == "Redis" else f"{other}, compatible with Redis {version}"
    do = "Move to Redis 6.2 or newer, or to Valkey."
    yield Finding("Redis answers and its version is supported", known, name, do, Section.SERVER_VERSIONS)
    policy = str(info.get("maxmemory_policy", "unknown"))
    do = "Set maxmemory-policy to noeviction: any other policy evicts jobs and sessions."
    yield Finding("Redis evicts nothing", policy in {"noeviction", "unknown"}, policy, do, Section.REDIS_MEMORY)
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    seen = f"{used / 2**20:,.0f} MB used" + (f" of {most / 2**20:,.0f} MB" if most else ", no limit")
    do = "Raise maxmemory, or find the largest keys with redis-cli --bigkeys."
    yield Finding("Redis has free memory", not most or used < most * BUSY, seen, do, Section.REDIS_MEMORY)
    saves = bool(info.get("aof_enabled")) or str(info.get("rdb_last_bgsave_status", "ok")) == "ok"
    do = "Check the Redis log; a full disk is the usual reason."
    seen = "append-only file" if info.get("aof_enabled") else f"last snapshot {info.get('rdb_last_bgsave_status')}"
    yield Finding("Redis can persist its data", saves, seen, do, Section.REDIS_MEMORY, is_urgent=False)


def _named(revisions_: set[str]) -> str:
    return ", ".join(sorted(revisions_)) or "none, the database is empty"

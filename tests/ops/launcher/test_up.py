"""`./zenzefi up` from outside: start, stop, kill -9, and invalid options and settings."""

import json
import os
import re
import signal
import socket
import stat
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ops.processes.child import MARK
from tests.ops.conftest import StubInstallation, gone, wait_until

USER_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")

MOUNT = 'mount -t tmpfs -o size=20m tmpfs "$0" && exec "$@"'


def everyone(ready: dict[str, Any]) -> list[int]:
    """Return all process ids that a ready file names."""
    pids = ready["pids"].values()
    return [pid for entry in pids for pid in (entry if isinstance(entry, list) else [entry])]


def variables(pid: int) -> set[str]:
    """Return the names in a process's environment, without the launcher's mark."""
    found = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return {name.partition(b"=")[0].decode() for name in found} - {MARK}


def status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - our own address
        return int(reply.status)


def test_up_starts_everything_prints_a_summary_and_stops_on_ctrl_c(new_installation: StubInstallation) -> None:
    new_installation.environment["SOMEBODYS_API_KEY"] = "a secret of the caller's shell"
    process, ready = new_installation.up("--workers", "2")

    assert stat.S_IMODE(new_installation.ready_file.stat().st_mode) == 0o600
    assert status(ready["portal_url"] + "/health") == 200
    assert status(ready["proxy_url"] + "/_zenzefi/ready") == 200
    assert status(ready["upstream_url"] + "/certificates/filter") == 200
    assert ready["admin_email"] == "admin@example.test"
    assert len(ready["admin_password"]) >= 16
    assert ready["demo_token"] == "demo-1"
    assert set(ready["pids"]) == {"postgres", "redis", "portal", "proxy", "worker", "scheduler", "upstream"}
    assert len(ready["pids"]["proxy"]) == 2
    assert not any(gone(pid) for pid in everyone(ready))
    of_settings = ("ZENZEFI_", "DATABASE_URL", "REDIS_URL")
    assert [name for name in variables(ready["pids"]["upstream"]) if name.startswith(of_settings)] == []
    for part in ("portal", "worker", "scheduler"):
        assert {"DATABASE_URL", "REDIS_URL"} <= variables(ready["pids"][part])
    for pid in everyone(ready):
        assert not variables(pid) & {"ZENZEFI_ADMIN__PASSWORD", "ZENZEFI_ADMIN__PASSWORD_FILE", "SOMEBODYS_API_KEY"}
    secrets = new_installation.data / "secrets"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets.iterdir()} == {0o600}
    time.sleep(2.5)  # the stub worker writes its mail after two seconds

    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)

    assert process.returncode == 0
    assert errors == ""
    assert ready["admin_password"] in output
    assert f"curl -H 'X-Access-Token: demo-1' {ready['proxy_url']}/certificates/filter" in output
    assert "Press Ctrl-C to stop." in output
    assert "mail: To alice@example.test: Welcome" in output.splitlines()
    assert new_installation.processes() == []
    assert not new_installation.ready_file.exists()


def test_a_second_start_keeps_data_and_shows_no_password(installation: StubInstallation) -> None:
    first, _ = installation.up()
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    secrets = {file.name: file.read_text() for file in (installation.data / "secrets").iterdir()}

    _, ready = installation.up()

    assert ready["admin_password"] is None
    assert ready["demo_token"] == "demo-2"
    assert {file.name: file.read_text() for file in (installation.data / "secrets").iterdir()} == secrets


def test_a_kill_of_the_launcher_leaves_nothing_behind_and_the_next_start_works(installation: StubInstallation) -> None:
    process, ready = installation.up()

    process.kill()
    process.wait()

    # All that was started by the launcher itself dies with it; a grandchild is found by the next start.
    wait_until(lambda: all(gone(pid) for pid in everyone(ready)))
    _, again = installation.up()
    assert again["demo_token"] == "demo-2"
    assert len([1 for process in installation.processes() if "time.sleep(600)" in command(process.pid)]) == 1


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def test_a_stop_ends_grandchildren_too(installation: StubInstallation) -> None:
    process, _ = installation.up()
    assert any("time.sleep(600)" in command(process.pid) for process in installation.processes())

    process.send_signal(signal.SIGTERM)
    process.wait(30)

    assert installation.processes() == []


def workers(installation: StubInstallation) -> list[int]:
    """Return the process ids of the proxy's workers in the ready file."""
    return list(json.loads(installation.ready_file.read_text())["pids"]["proxy"])


def test_a_proxy_worker_that_dies_is_replaced_and_the_ready_file_is_updated(installation: StubInstallation) -> None:
    _, ready = installation.up("--workers", "2")
    dead, other = ready["pids"]["proxy"]

    os.kill(dead, signal.SIGKILL)

    wait_until(lambda: len(workers(installation)) == 2 and dead not in workers(installation))
    assert other in workers(installation)
    assert status(ready["proxy_url"] + "/_zenzefi/ready") == 200


def test_a_proxy_supervisor_that_dies_ends_its_workers_and_is_replaced(installation: StubInstallation) -> None:
    _, ready = installation.up("--workers", "2")
    rows = json.loads((installation.data / "run/processes.json").read_text())["processes"]

    os.kill(next(row["pid"] for row in rows if row["name"] == "proxy"), signal.SIGKILL)

    wait_until(lambda: all(gone(pid) for pid in ready["pids"]["proxy"]))
    wait_until(lambda: not set(ready["pids"]["proxy"]) & set(pids := workers(installation)) and len(pids) == 2)
    assert status(ready["proxy_url"] + "/_zenzefi/ready") == 200


def test_a_part_that_dies_is_restarted_and_the_ready_file_is_updated(installation: StubInstallation) -> None:
    process, ready = installation.up()

    os.kill(ready["pids"]["worker"], signal.SIGKILL)
    os.kill(ready["pids"]["postgres"], signal.SIGKILL)

    def followed() -> bool:
        now = json.loads(installation.ready_file.read_text())["pids"]
        return all(now[part] != ready["pids"][part] and not gone(now[part]) for part in ("worker", "postgres"))

    wait_until(followed)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert "worker was killed by SIGKILL" in errors


def test_up_runs_below_a_private_folder(new_installation: StubInstallation) -> None:
    new_installation.data.parent.chmod(0o700)
    closed = new_installation.data.parent / "closed"
    closed.mkdir(mode=0o700)
    new_installation.data = closed / "data"

    _, ready = new_installation.up()

    assert ready["demo_token"] == "demo-1"


@pytest.mark.parametrize("folder", ["with space", "n" * 90])
def test_any_name_of_the_data_folder_works(new_installation: StubInstallation, folder: str) -> None:
    new_installation.data = new_installation.data.parent / folder

    _, ready = new_installation.up()

    assert ready["demo_token"] == "demo-1"


def test_up_runs_as_an_ordinary_user(new_installation: StubInstallation) -> None:
    prefix = USER_NAMESPACE if os.geteuid() == 0 else ()

    _, ready = new_installation.up(prefix=prefix)

    assert not gone(ready["pids"]["postgres"])


def test_a_second_up_on_the_same_data_folder_is_rejected(installation: StubInstallation) -> None:
    process, _ = installation.up()

    sentence = installation.refuses()

    assert sentence == f"Another ./zenzefi up (process {process.pid}) is using {installation.data}."
    assert installation.ready_file.exists()


def test_a_taken_port_is_reported_with_the_option_that_changes_it(new_installation: StubInstallation) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert new_installation.refuses("--portal-port", str(port), "--proxy-port", "0") == (
            f"Port {port} for the portal is already taken; choose another one with --portal-port."
        )
        assert "--proxy-port" in new_installation.refuses("--portal-port", "0", "--proxy-port", str(port))
    assert new_installation.processes() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--upstream", "ftp://example.test"], "upstream.url: must be http://host[:port]"),
        (["--upstream", "http://nowhere.invalid"], "The upstream http://nowhere.invalid cannot be found"),
        (["--portal-port", "7777", "--proxy-port", "7777"], "Portal and proxy cannot both use port 7777."),
        (["--workers", "0"], "must be a number from 1 to 64"),
        (["--portal-port", "70000"], "it must be a number from 0 to 65535"),
    ],
)
def test_an_invalid_option_is_reported_in_one_sentence(
    new_installation: StubInstallation, options: list[str], said: str
) -> None:
    assert said in new_installation.refuses(*options)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DATABASE_URL", "mysql://localhost/x", "database.url: must start with postgresql://"),
        (
            "DATABASE_URL",
            "postgresql://bob:hidden@127.0.0.1:1/x",
            "that DATABASE_URL names cannot be used",
        ),
        ("REDIS_URL", "redis://127.0.0.1:1/0", "The Redis at REDIS_URL cannot be used"),
        ("ZENZEFI_PROXY__GRACE_SECONDS", "soon", "proxy.grace_seconds"),
        ("ZENZEFI_SERVERS", "none", "No PostgreSQL was found"),
    ],
)
def test_an_invalid_variable_is_reported_in_one_sentence(
    new_installation: StubInstallation, variable: str, value: str, said: str
) -> None:
    new_installation.environment[variable] = value

    sentence = new_installation.refuses()

    assert said in sentence
    assert "hidden" not in sentence


def test_configured_servers_are_used_and_not_started(installation: StubInstallation) -> None:
    installation.environment |= {"DATABASE_URL": os.environ["DATABASE_URL"], "REDIS_URL": os.environ["REDIS_URL"]}

    process, ready = installation.up("--upstream", "http://127.0.0.1:9")

    assert ready["pids"]["postgres"] is ready["pids"]["redis"] is ready["pids"]["upstream"] is None
    assert ready["upstream_url"] == "http://127.0.0.1:9"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert "does not answer now" in errors


def test_a_part_that_ends_while_starting_is_reported_with_its_last_output(installation: StubInstallation) -> None:
    (installation.folder / "jobs/worker.py").write_text("raise SystemExit('the timetable is lost')")

    sentence = installation.refuses()

    assert sentence.startswith("worker ended with exit code 1: the timetable is lost (log: ")
    assert installation.processes() == []


def test_a_password_not_shown_by_a_failed_start_is_shown_by_the_next(installation: StubInstallation) -> None:
    good = (installation.folder / "jobs/worker.py").read_text()
    (installation.folder / "jobs/worker.py").write_text("raise SystemExit(1)")
    installation.refuses()
    (installation.folder / "jobs/worker.py").write_text(good)

    _, ready = installation.up()

    assert ready["admin_password"] == (installation.data / "secrets/admin.password").read_text().strip()


def test_a_data_folder_that_is_a_file_is_reported_in_one_sentence(new_installation: StubInstallation) -> None:
    new_installation.data.write_text("")

    assert new_installation.refuses() == f"The data folder {new_installation.data} cannot be used: File exists."


def test_a_data_folder_of_another_postgresql_is_reported_in_one_sentence(installation: StubInstallation) -> None:
    first, _ = installation.up()
    first.send_signal(signal.SIGTERM)
    first.wait(30)
    (installation.data / "postgres/data/PG_VERSION").write_text("9\n")
    installation.environment["ZENZEFI_SERVERS"] = "system"

    assert installation.refuses().startswith("The data folder belongs to PostgreSQL 9, and only version ")


def test_a_full_disk_is_reported_in_one_sentence(new_installation: StubInstallation) -> None:
    new_installation.data.mkdir()
    small_disk = ("unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(new_installation.data))

    sentence = new_installation.refuses(prefix=small_disk)

    assert re.fullmatch(rf"Only \d+ MB are free in {new_installation.data}; 300 MB are needed\.", sentence)

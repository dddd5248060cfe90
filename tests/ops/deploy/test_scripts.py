"""The shell scripts: shellcheck, and their behaviour with stubs for docker, ssh and certbot."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from ops.bootstrap import REPOSITORY
from tests.ops.deploy.documents import document, tool

# Notes each call, and lets those fail that carry a word of FAIL.
STAND_IN = """#!/usr/bin/env bash
printf '%s %s\\n' "${ZENZEFI_VERSION:-}" "$*" >> "$CALLS"
for word in $FAIL; do
    [[ "${ZENZEFI_VERSION:-} $*" != *"${word//_/ }"* ]] || exit 1
done
"""
# As the images of nginx begin: what they make of templates and settings is for a command called nginx alone.
ENTRYPOINT = """#!/bin/sh
if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
    echo "templates rendered" >> "$CALLS"
fi
exec "$@"
"""
PARTS = ["portal-a", "portal-b", "proxy-a", "proxy-b", "worker", "scheduler"]


def scripts() -> list[Path]:
    """Return every shell script of the repository, found by its first line."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, check=True
    )
    files = [REPOSITORY / name for name in listed.stdout.decode().splitlines()]
    return [file for file in files if file.is_file() and file.read_bytes()[:32].splitlines()[:1] in SHEBANGS]


SHEBANGS = [[b"#!/usr/bin/env bash"], [b"#!/bin/sh"], [b"#!/bin/bash"]]


def test_shellcheck_reports_nothing_for_any_script() -> None:
    found = scripts()
    assert {"run", "packages", "init.sh", "roll.sh", "remote.sh", "serve.sh", "certbot.sh"} <= {
        each.name for each in found
    }
    tool("shellcheck", *found)
    for file in found:
        assert os.access(file, os.X_OK), file
        shell = "bash" if b"bash" in file.read_bytes()[:32] else "sh"
        subprocess.run([shell, "-n", file], check=True)


class Machine:
    """A folder as on a production machine, with a stub of docker that records its arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "ZENZEFI_HOME": str(folder)}
        self.environment |= {"CALLS": str(self.calls), "FAIL": "", "SETTLE": "0", "HOME": str(folder)}
        (folder / "bin").mkdir()
        (folder / "secrets").mkdir()
        (folder / ".env").write_text("PORTAL_HOST=a\nZENZEFI_VERSION=1.0.0\n")
        for name in ("docker", "ssh", "git"):
            (folder / "bin" / name).write_text(STAND_IN)
            (folder / "bin" / name).chmod(0o755)

    def run(self, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [str(REPOSITORY / f"ops/deploy/{script}"), *arguments]
        return subprocess.run(
            command, env=self.environment | more, capture_output=True, text=True, timeout=30, check=False
        )

    def replaced(self) -> list[tuple[str, str]]:
        """Return the parts and versions that were started, in order."""
        calls = [line.split() for line in self.calls.read_text().splitlines()]
        return [(call[-1], call[0]) for call in calls if call[1:3] == ["compose", "up"]]

    @property
    def version(self) -> str:
        return (self.folder / ".env").read_text().split("ZENZEFI_VERSION=")[1].strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_rolling_deploy_migrates_and_then_replaces_the_parts_one_by_one(machine: Machine) -> None:
    done = machine.run("roll.sh", "1.1.0")
    assert done.returncode == 0, done.stderr
    assert machine.replaced() == [(part, "1.1.0") for part in PARTS]
    calls = machine.calls.read_text().splitlines()
    order = [
        "1.1.0 compose pull",
        "1.0.0 compose run --rm --no-deps -T worker backup",
        "1.1.0 compose run",
        "1.1.0 compose up",
    ]
    assert [next(number for number, call in enumerate(calls) if call.startswith(start)) for start in order] == [
        0,
        1,
        2,
        3,
    ]
    assert "1.1.0 compose exec -T portal-b python -m ops.container gate portal" in calls
    assert machine.version == "1.1.0"
    assert "PORTAL_HOST=a" in (machine.folder / ".env").read_text()


@pytest.mark.parametrize(
    "bad",
    [
        "1.1.0_compose_exec_-T_portal-b",
        "1.1.0_compose_up_--detach_--no-deps_--no-build_--wait_--wait-timeout_180_portal-b",
    ],
)
def test_an_unhealthy_part_is_rolled_back(machine: Machine, bad: str) -> None:
    done = machine.run("roll.sh", "1.1.0", FAIL=bad)
    assert done.returncode == 1
    new, old = [("portal-a", "1.1.0"), ("portal-b", "1.1.0")], [("portal-b", "1.0.0"), ("portal-a", "1.0.0")]
    assert machine.replaced() == new + old
    assert machine.version == "1.0.0"
    assert "portal-b is not healthy with 1.1.0. Rolling back to 1.0.0." in done.stderr


def test_a_failed_rollback_is_reported_separately(machine: Machine) -> None:
    done = machine.run("roll.sh", "1.1.0", FAIL="exec_-T_portal-a")
    assert done.returncode == 2
    assert "portal-a is not healthy with 1.0.0 either" in done.stderr


@pytest.mark.parametrize("bad", ["pull image_inspect", "worker_backup", "migrate"])
def test_a_failure_before_the_first_replacement_changes_nothing(machine: Machine, bad: str) -> None:
    done = machine.run("roll.sh", "1.1.0", "--commit", "0" * 40, FAIL=bad)
    assert done.returncode == 1
    assert machine.replaced() == []
    assert machine.version == "1.0.0"


def test_a_locally_built_image_can_be_deployed(machine: Machine) -> None:
    done = machine.run("roll.sh", "1.1.0", FAIL="pull")
    assert done.returncode == 0, done.stderr
    assert " image inspect zenzefi:1.1.0" in machine.calls.read_text().splitlines()
    assert machine.version == "1.1.0"


def test_an_invalid_or_running_version_is_rejected(machine: Machine) -> None:
    for wrong in ("", "1.0.0", "../../etc", "1.1.0; reboot", "--wrong"):
        assert machine.run("roll.sh", wrong).returncode == 1
    assert not machine.calls.exists()


def test_a_second_concurrent_deploy_is_rejected(machine: Machine) -> None:
    held = subprocess.Popen(["flock", str(machine.folder / "secrets/.roll.lock"), "sleep", "5"])
    try:
        for _ in range(50):
            done = machine.run("roll.sh", "1.1.0", "--no-backup", FAIL="pull image_inspect")
            if "Another deploy" in done.stderr:
                break
        assert "Another deploy is running." in done.stderr
    finally:
        held.kill()
        held.wait()


def test_a_remote_deploy_accepts_only_a_version_and_a_commit(machine: Machine) -> None:
    where = {"DEPLOY_HOST": "deploy@example.com", "DEPLOY_FOLDER": "/srv/my shop"}
    assert machine.run("remote.sh", "1.1.0", "a" * 40, **where).returncode == 0
    [call] = machine.calls.read_text().splitlines()
    assert call.endswith(rf"deploy@example.com cd /srv/my\ shop && ops/deploy/roll.sh 1.1.0 --commit {'a' * 40}")
    assert "StrictHostKeyChecking=yes" in call
    for wrong in (("1.1.0; id", "a" * 40), ("1.1.0", "main"), ("1.1.0",)):
        assert machine.run("remote.sh", *wrong, **where).returncode == 1
    assert len(machine.calls.read_text().splitlines()) == 1


def test_init_keeps_existing_secrets_and_recreates_lost_ones(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    told = {"PORTAL_HOST": "a.example", "PROXY_HOST": "b.example", "UPSTREAM_URL": "https://c.example"}
    environment = {"PATH": os.environ["PATH"], "ZENZEFI_HOME": str(tmp_path), "ADMIN_EMAIL": "d@example.com", **told}

    def init(**more: str) -> subprocess.CompletedProcess[str]:
        script = str(REPOSITORY / "ops/deploy/init.sh")
        return subprocess.run([script], env=environment | more, capture_output=True, text=True, check=False)

    assert init(PROXY_HOST="a.example").returncode == 1  # one host name for both
    assert init(PROXY_HOST="").returncode == 1
    assert init().returncode == 0
    before = {file.name: file.read_bytes() for file in (tmp_path / "secrets").iterdir()}
    (tmp_path / "secrets/grafana_password").unlink()
    again = init(PORTAL_HOST="other.example")
    assert again.returncode == 0
    after = {file.name: file.read_bytes() for file in (tmp_path / "secrets").iterdir()}
    assert before.pop("grafana_password") != after.pop("grafana_password")
    assert before == after
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert len({content for name, content in after.items() if name.endswith(("key", "keys", "password"))}) == 5


def test_the_templates_are_rendered_when_nginx_starts(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    script = (REPOSITORY / "ops/deploy/nginx/serve.sh").read_text()
    for name, content in {
        "docker-entrypoint.sh": ENTRYPOINT,
        "serve.sh": re.sub(r"(?<=[ ])/(?=certs|docker-entrypoint)", f"{tmp_path}/", script),
        "nginx": '#!/bin/sh\necho "nginx $*" >> "$CALLS"\n',
    }.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    [command] = document("docker-compose.yml")["services"]["nginx"]["command"]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    started = subprocess.Popen(
        [tmp_path / "docker-entrypoint.sh", f"{tmp_path}{command}"], env=environment, start_new_session=True
    )
    try:
        assert started.wait(10) == 0
    finally:
        os.killpg(started.pid, signal.SIGKILL)  # the watch over the certificates
    assert (tmp_path / "calls").read_text().splitlines() == ["templates rendered", "nginx -g daemon off;"]

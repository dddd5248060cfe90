"""A small installation with stubs in place of portal, proxy and jobs, so that the launcher alone is tested."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.bootstrap import REPOSITORY
from ops.launcher.installation import Folders
from ops.processes.stale import Process, end, identify, with_mark, with_working_folder

STUBS = {
    "portal/__init__.py": """
def create_app():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"status": "healthy"}']
    return app
""",
    "addon/__init__.py": "",
    "jobs/__init__.py": "",
    "addon/worker.py": """
import http.server, os, socketserver
from addon.process.control_socket import ControlSocket, inherited_listeners
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    def __init__(self, listener):
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.socket = listener
        listener.listen()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
control = ControlSocket()
control.watch(lambda: os._exit(0), 1)
control.report_ready()
Server(inherited_listeners()[0]).serve_forever()
""",
    "jobs/worker.py": """
import os, subprocess, sys, time
from redis import Redis
from models.config import settings as config
connection = Redis.from_url(config.load_settings().redis.url)
connection.hset(f"rq:worker:{os.getpid()}", "pid", os.getpid())
connection.sadd("rq:workers", f"rq:worker:{os.getpid()}")
connection.hset("rq:scheduler_instance:one", "birth", time.time())
# A work-horse has a process group of its own, as RQ's has.
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(2)
print("2026-11-22 INFO jobs.mail: mail: To alice@example.test: Welcome", flush=True)
time.sleep(600)
""",
    "ops/launcher/first_run.py": """
import json, os, psycopg2
from models.config import settings as config
settings = config.load_settings()
connection = psycopg2.connect(settings.database.url.replace("+psycopg2", ""))
with connection, connection.cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS starts (number serial)")
    cursor.execute("INSERT INTO starts DEFAULT VALUES RETURNING number")
    number = cursor.fetchone()[0]
assert settings.admin.password is not None
print("something else that a library says")
print(json.dumps({"admin_email": "admin@example.test", "admin_created": number == 1, "demo_token": f"demo-{number}"}))
""",
}


# The proxy's supervisor is the real one; only its workers are not.
PROCESS = ("__init__", "control_socket", "listening_sockets", "tls_files", "worker_slots")
REAL = ("__init__", "supervisor", *(f"process/{name}" for name in PROCESS))


def make_installation(folder: Path) -> Path:
    """Copy the launcher and the settings to a folder, with stubs for the rest."""
    ignore = shutil.ignore_patterns("__pycache__")
    for package in ("ops", "models"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=ignore)
    for name in ("config.toml", "zenzefi", "requirements.txt", "requirements-mcp.txt", "requirements-dev.txt"):
        shutil.copy2(REPOSITORY / name, folder / name)
    (folder / "addon/process").mkdir(parents=True)
    for name in REAL:
        shutil.copy2(REPOSITORY / "addon" / f"{name}.py", folder / "addon" / f"{name}.py")
    for name, text in STUBS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


class StubInstallation:
    """The launcher in a separate folder, run from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_installation(folder / "installation")
        self.data = folder / "d"
        self.ready_file = folder / "ready.json"
        self.started: list[subprocess.Popen[str]] = []
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DATABASE_URL", "REDIS_URL", "ZENZEFI_"))
        }
        self.environment["PYTHONPATH"] = str(self.folder)

    def launch(self, *options: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start `up` on free ports and return at once."""
        ports = [] if "--portal-port" in options else ["--portal-port", "0", "--proxy-port", "0"]
        command = [*prefix, sys.executable, "-P", "-m", "ops.launcher.up", "--data", str(self.data), *ports]
        process = subprocess.Popen(
            [*command, "--ready-file", str(self.ready_file), *options],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
        )  # fmt: skip
        self.started.append(process)
        return process

    def up(self, *options: str, prefix: tuple[str, ...] = ()) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """Start `up`, wait for the ready file and return its contents."""
        stale = self.ready_file.stat().st_ino if self.ready_file.exists() else 0
        process = self.launch(*options, prefix=prefix)
        wait_until(lambda: process.poll() is not None or self._is_fresh(stale), 60)
        if process.poll() is not None:
            raise AssertionError(process.communicate())
        return process, json.loads(self.ready_file.read_text())

    def _is_fresh(self, stale: int) -> bool:
        """Return whether the ready file is newer than the one left by a killed launcher."""
        return self.ready_file.exists() and self.ready_file.stat().st_ino != stale

    def refuses(self, *options: str, prefix: tuple[str, ...] = ()) -> str:
        """Run an `up` that cannot start; returns its error, which is one sentence without a traceback."""
        process = self.launch(*options, prefix=prefix)
        output, errors = process.communicate(timeout=60)
        assert process.returncode not in {0, None}, output
        assert "Traceback" not in errors + output
        lines = errors.strip().splitlines()
        return lines[-1] if lines and lines[0].startswith("usage:") else errors.strip()

    def processes(self) -> list[Process]:
        """Return all processes of the data folder."""
        return [*with_mark(str(self.data)), *with_working_folder(self.data / "postgres/data")]

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.communicate(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
        end(self.processes(), signal.SIGKILL, 5)


def wait_until(holds: Callable[[], object], seconds: float = 20) -> None:
    """Wait until a condition is true, and fail after a time limit."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Return whether a process has ended, reaped or not."""
    return identify(pid) is None


@pytest.fixture
def new_installation(tmp_path: Path) -> Iterator[StubInstallation]:
    """A stub installation without a data folder."""
    installation = StubInstallation(tmp_path)
    yield installation
    installation.close()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an initialised PostgreSQL, so that not every test has to create one."""
    folders = Folders(tmp_path_factory.mktemp("cluster") / "d")
    folders.make()
    with folders.postgres_server():
        pass
    return folders.data


@pytest.fixture
def installation(new_installation: StubInstallation, cluster: Path) -> StubInstallation:
    """A stub installation whose PostgreSQL is initialised."""
    subprocess.run(["cp", "-a", str(cluster), str(new_installation.data)], check=True)
    return new_installation

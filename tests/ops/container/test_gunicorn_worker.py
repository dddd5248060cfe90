"""Graceful stop of the portal's gunicorn: pending connections are served, new ones refused."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.bootstrap import REPOSITORY, child_environment
from tests.addon.processes import connections, free_port, listeners
from tests.ops.conftest import wait_until

APP = """
import time

def app(environ, start_response):
    body = environ["wsgi.input"].read()
    time.sleep(float(environ["QUERY_STRING"] or 0))
    _, _, size = environ["PATH_INFO"].partition("/bytes/")
    reply = bytes(int(size)) if size else b"ok"
    start_response("200 OK", [("Content-Length", str(len(reply))), ("X-Body", str(len(body)))])
    return [reply]
"""


class Gunicorn:
    """A gunicorn master with one worker of the portal's class and a small application."""

    def __init__(self, folder: Path, conf: str = "") -> None:
        self.port = free_port()
        (folder / "gunicorn.conf.py").write_text(conf)
        (folder / "small.py").write_text(APP)
        options = [
            "--worker-class",
            "ops.container.gunicorn_worker.DrainingWorker",
            "--threads",
            "2",
            "--graceful-timeout",
            "10",
        ]
        self.master = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{self.port}", *options, "small:app"],
            cwd=folder,
            env={**child_environment(), "PYTHONPATH": f"{REPOSITORY}:{folder}"},
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: self.children() and listeners(self.port))
        assert self.get() == 200

    def children(self) -> list[int]:
        return [
            int(pid) for pid in Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children").read_text().split()
        ]

    def get(self, seconds: float = 0) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", f"/?{seconds}", body=b"x")
        return connection.getresponse().status


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[Gunicorn]:
    gunicorn = Gunicorn(tmp_path)
    yield gunicorn
    gunicorn.master.kill()
    gunicorn.master.wait()


def test_pending_connections_of_a_stopping_portal_are_served(gunicorn: Gunicorn) -> None:
    [worker] = gunicorn.children()
    os.kill(worker, signal.SIGSTOP)
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(gunicorn.get) for _ in range(6)]
        wait_until(lambda: waiting(gunicorn.port) == 6)
        gunicorn.master.terminate()
        time.sleep(0.2)  # the master closes its own socket before it tells its worker
        os.kill(worker, signal.SIGCONT)
        assert [answer.result() for answer in answers] == [200] * 6
    assert gunicorn.master.wait(timeout=10) == 0


def test_a_stopping_portal_refuses_new_connections_while_it_finishes_requests(gunicorn: Gunicorn) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(gunicorn.get, 3)
        wait_until(lambda: connections(gunicorn.port) and not waiting(gunicorn.port))
        gunicorn.master.terminate()
        wait_until(lambda: not listeners(gunicorn.port))
        with socket.socket() as late:
            assert late.connect_ex(("127.0.0.1", gunicorn.port)) != 0
        assert not slow.done()
        assert slow.result() == 200


def waiting(port: int) -> int:
    """Return the number of connections in the queue of a listening socket."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(
        int(line[4].partition(":")[2], 16) for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"
    )

# ruff: noqa: N999 - the name is the one that people who run gunicorn look for
"""Settings of gunicorn for the portal: `gunicorn -c ops/container/gunicorn.conf.py 'portal:create_app()'`."""

import ctypes
import os
import shutil
import signal
from typing import Any

from prometheus_client import multiprocess

import portal  # noqa: F401 - gunicorn listens before its workers have loaded anything, and whoever connects waits for that
from addon.process.listening_sockets import raise_file_limit
from models.config.settings import load_settings
from ops.container.gunicorn_requests import Bounds
from ops.container.gunicorn_worker import DrainingWorker

_portal = load_settings().portal
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

bind = f"[{_portal.host}]:{_portal.port}" if ":" in _portal.host else f"{_portal.host}:{_portal.port}"
worker_class = "ops.container.gunicorn_worker.DrainingWorker"
workers = _portal.processes
threads = _portal.threads
worker_connections = _portal.connections
DrainingWorker.bounds = Bounds(
    head_seconds=_portal.head_seconds,
    body_seconds=_portal.body_seconds,
    response_seconds=_portal.response_seconds,
)
raise_file_limit()
timeout = 60
graceful_timeout = 20  # more than the longest statement may take
keepalive = 5
# Whom to believe about the client's address is decided in one place, the portal's trusted_proxies.
forwarded_allow_ips = ""
# The heartbeat files must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - gunicorn makes a private file there
control_socket_disable = True
proc_name = "zenzefi-portal"


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Let a worker die with its master at once, also when the master is killed."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def on_starting(server: Any) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Begin with an empty folder for the processes' metrics."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder, mode=0o700)


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Take a dead worker's gauges out of the metrics; its counts stay."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(worker.pid)

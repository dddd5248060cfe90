# ruff: noqa: N999 - gunicorn's customary file name
"""gunicorn settings of the portal: `gunicorn -c ops/container/gunicorn.conf.py 'portal:create_app()'`."""

import ctypes
import gc
import os
import shutil
import signal
from typing import Any

from prometheus_client import multiprocess

import portal  # noqa: F401 - loaded before gunicorn listens, so that no connection waits for it
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
# The client's address is derived from the portal's trusted_proxies only.
forwarded_allow_ips = ""
# Heartbeat files in memory: writing them must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - gunicorn creates a private file there
control_socket_disable = True
proc_name = "zenzefi-portal"


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Make the kernel kill a worker when its master dies, also by SIGKILL."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def on_starting(server: Any) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Start with an empty folder for the metrics of the processes."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder, mode=0o700)


def when_ready(server: Any) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Keep what is loaded out of garbage collection, which would copy the memory that the workers share."""
    gc.collect()
    gc.freeze()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn calls it so
    """Remove a dead worker's gauges from the metrics; its counters stay."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(worker.pid)

"""Latency of a token revocation at all workers under load.

A token has a kept connection at each worker. The time from just before the commit of the revocation until the last
connection is closed is measured; workers reject new requests earlier than they close connections.
"""

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import Engine

from models import database
from models.config import settings as config
from models.services.accounts import users
from models.services.actor import PLATFORM
from models.services.crypto import secrets
from models.services.gateway import token_lookup
from models.services.tokens import revocation
from ops.console import Failure, Step
from ops.dev.bench import wrk
from ops.dev.bench.load_clients import open_connection
from ops.dev.bench.targets import Target

LOAD_CONNECTIONS = 32
TIMEOUT_SECONDS = 10.0
SETTLE_SECONDS = 0.2
MAX_CONNECTIONS = 200  # attempts until each worker has a connection


def measure(target: Target, environment: Mapping[str, str], spares: Sequence[str], tool: str | None) -> dict[str, Any]:
    """Revoke one token after the other; returns percentiles of the latency in ms."""
    settings = config.load_settings(environment)
    engine = database.connect(settings.database)
    took: list[float] = []
    try:
        with Step(f"{len(spares)} revocations under load") as step, _loaded(target, tool):
            for number, secret in enumerate(spares, 1):
                step.tick(f"{number} of {len(spares)}")
                took.append(_revoke(target, settings, engine, secret))
    finally:
        engine.dispose()
    took.sort()
    return {
        "target": target.name,
        "workers": target.workers,
        "revokes": len(took),
        "loaded": tool is not None,
        "p50": round(median(took) * 1000, 1),
        "p95": round(took[min(int(len(took) * 0.95), len(took) - 1)] * 1000, 1),
        "highest": round(took[-1] * 1000, 1),
    }


@contextlib.contextmanager
def _loaded(target: Target, tool: str | None) -> Iterator[None]:
    """Load the workers fully."""
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            url = f"http://127.0.0.1:{target.port}/small"
            wrk.run(tool or "", url, target.tokens, connections=LOAD_CONNECTIONS, seconds=2, keep=True)

    thread = threading.Thread(target=load, daemon=True)
    if tool is not None:
        thread.start()
        time.sleep(SETTLE_SECONDS)
    try:
        yield
    finally:
        done.set()
        if tool is not None:
            thread.join()


def _revoke(target: Target, settings: config.Settings, engine: Engine, secret: str) -> float:
    """Revoke a token; returns the seconds until its connections at all workers are closed."""
    with contextlib.ExitStack() as stack:
        held = _connection_per_worker(target, secret, stack)
        time.sleep(SETTLE_SECONDS)
        selector = stack.enter_context(selectors.DefaultSelector())
        for connection in held:
            selector.register(connection, selectors.EVENT_READ)
        with database.sessions(engine)() as session:
            known = token_lookup.find(session, secrets.hash_of(settings.tokens, secret))
            if known is None:
                raise Failure("A newly bought token is missing.")
            owner = users.by_id(session, known.user_id)
            revocation.revoke(session, owner, known.token_id, settings=settings, actor=PLATFORM)
            begun = time.perf_counter()
            session.commit()
        while selector.get_map():
            ready = selector.select(TIMEOUT_SECONDS)
            if not ready:
                raise Failure(f"A revocation was not effective within {TIMEOUT_SECONDS:g} s.")
            for key, _ in ready:
                selector.unregister(key.fileobj)
        return time.perf_counter() - begun


def _connection_per_worker(target: Target, secret: str, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Open connections until each worker has one that the token has used; the kernel chooses the worker."""
    found: dict[int, socket.socket] = {}
    for _ in range(MAX_CONNECTIONS):
        connection = stack.enter_context(open_connection(target.port, secret))
        worker = _peer_process(connection, target.pids())
        if worker is not None:
            found.setdefault(worker, connection)
        if len(found) == target.workers:
            return list(found.values())
    raise Failure("One of the workers accepts no connection.")


def _peer_process(connection: socket.socket, pids: Sequence[int]) -> int | None:
    """Return the process with the other end of a connection on this machine."""
    far, near = (f":{name[1]:04X}" for name in (connection.getpeername(), connection.getsockname()))
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(far) and fields[2].endswith(near):
            return next((pid for pid in pids if _has_open(pid, f"socket:[{fields[9]}]")), None)
    return None


def _has_open(pid: int, file: str) -> bool:
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(entry.path) == file:
                    return True
    return False

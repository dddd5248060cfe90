"""Jobs for tests of the worker process: they hang, crash, fail, or leave something behind."""

import os
import signal
import time
from pathlib import Path

from sqlalchemy import text

from jobs import context

kept: list[object] = []


def process_id() -> int:
    """Return the process in which this job runs."""
    return os.getpid()


def wait() -> None:
    """Wait longer than any test."""
    time.sleep(600)


def wait_a_second() -> str:
    """Wait a second."""
    time.sleep(1)
    return "done"


def wait_uninterruptibly() -> None:
    """Hang as C code does, during which Python handles no signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(600)


def die_once(file: str) -> str:
    """Be killed in the first run."""
    if not Path(file).exists():
        Path(file).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def fail() -> float:
    """Raise."""
    return 1 / 0


def keep_a_transaction_open() -> int:
    """Leave a transaction open."""
    session = context.sessions()()
    session.execute(text("SELECT 1"))
    kept.append(session)
    return os.getpid()

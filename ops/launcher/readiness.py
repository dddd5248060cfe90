"""Readiness checks of the platform's parts. Each returns within two seconds and never raises."""

import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path

import redis

from ops.processes.stale import parent_of

TIMEOUT_SECONDS = 2.0


def responds_ok(host: str, port: int, path: str) -> bool:
    """Return whether a GET is answered with 200."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def listens(host: str, port: int) -> bool:
    """Return whether a port accepts connections."""
    try:
        socket.create_connection((host, port), timeout=TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True


def http_ready(host: str, port: int, path: str) -> Callable[[int], bool]:
    """Return a check for a process that serves HTTP on a port."""
    return lambda _: responds_ok(host, port, path)


def proxy_workers(file: Path, pid: int) -> list[int]:
    """Return the worker ids that the proxy's supervisor `pid` has written to its file, once all of them serve."""
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return list(written["workers"]) if written["supervisor"] == pid else []


def worker_ready(url: str) -> Callable[[int], bool]:
    """Return a check for RQ workers: one has registered with this process id, or with that of a child."""

    def ready(pid: int) -> bool:
        with _client(url) as client:
            try:
                keys = client.smembers("rq:workers")
                registered = [int(found) for key in keys if (found := client.hget(text(key), "pid"))]
                return any(pid in {each, parent_of(each)} for each in registered)
            except redis.RedisError:
                return False

    return ready


def scheduler_ready(url: str, since: Callable[[], float]) -> Callable[[int], bool]:
    """Return a check for rq-scheduler: an instance was started after `since` (wall clock) and has not ended."""

    def ready(_pid: int) -> bool:
        with _client(url) as client:
            try:
                for key in client.scan_iter("rq:scheduler_instance:*", count=1000):
                    birth, death = client.hmget(text(key), ["birth", "death"])
                    if birth is not None and death is None and float(birth) >= since():
                        return True
            except redis.RedisError:
                return False
        return False

    return ready


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)


def text(key: bytes | str) -> str:
    return key.decode() if isinstance(key, bytes) else key

"""How the launcher tells that a part serves. Each test answers at once or within two seconds, and never raises."""

import http.client
from collections.abc import Callable

import redis

from ops.addresses import listens

PATIENCE_SECONDS = 2.0


def answers(host: str, port: int, path: str) -> bool:
    """Tell whether a GET is answered with 200."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def serves(host: str, port: int, path: str) -> Callable[[int], bool]:
    """A test for a process that answers on a port of its own."""
    return lambda _: answers(host, port, path)


def shares(host: str, port: int, path: str) -> Callable[[int], bool]:
    """A test for one of several processes on the same port: it must listen itself, and the port must answer."""
    return lambda pid: listens(pid, port) and answers(host, port, path)


def works_on_queues(url: str) -> Callable[[int], bool]:
    """A test for an RQ worker: it has entered itself, with its process id, among the workers."""

    def ready(pid: int) -> bool:
        with _client(url) as client:
            try:
                keys = client.smembers("rq:workers")
                return any(client.hget(_text(key), "pid") == str(pid).encode() for key in keys)
            except redis.RedisError:
                return False

    return ready


def keeps_the_schedule(url: str, since: Callable[[], float]) -> Callable[[int], bool]:
    """A test for rq-scheduler: an instance was born after `since` (seconds of the wall clock) and has not ended."""

    def ready(_pid: int) -> bool:
        with _client(url) as client:
            try:
                for key in client.scan_iter("rq:scheduler_instance:*", count=1000):
                    birth, death = client.hmget(_text(key), ["birth", "death"])
                    if birth is not None and death is None and float(birth) >= since():
                        return True
            except redis.RedisError:
                return False
        return False

    return ready


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS)


def _text(key: bytes | str) -> str:
    return key.decode() if isinstance(key, bytes) else key

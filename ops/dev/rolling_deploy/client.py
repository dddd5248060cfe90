"""Clients that count every response until SIGTERM, then print JSON: `python -m ops.dev.rolling_deploy.client FILE`.

They use the proxy or the portal, alternating GET and POST, each on its own kept connection to nginx. Unexpected and
missing responses are recorded with their time.
"""

import http.client
import json
import signal
import socket
import ssl
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT = 60.0
SUCCESS = {200, 201}
AS_JSON = {"Content-Type": "application/json"}


class Log:
    """Responses of all clients."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.answers: Counter[str] = Counter()
        self.bad: list[dict[str, Any]] = []
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._last: dict[str, float] = {}
        self.gaps: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def note(self, kind: str, outcome: int | str, began: float) -> None:
        """Record a response or an error."""
        now = time.monotonic()
        with self._lock:
            self.answers[f"{kind} {outcome}"] += 1
            if outcome in SUCCESS:
                self.seconds[kind].append(now - began)
                self.gaps[kind] = max(self.gaps[kind], now - self._last.get(kind, now))
                self._last[kind] = now
            else:
                entry = {"kind": kind, "outcome": str(outcome), "at": round(now - self.begun, 3)}
                self.bad.append(entry | {"after": round(now - began, 3)})

    def as_dict(self) -> dict[str, Any]:
        """Return the log for JSON; times in milliseconds."""
        figures = {
            kind: {
                "good": len(found),
                "p50_ms": _at(found, 0.5),
                "p95_ms": _at(found, 0.95),
                "slowest_ms": _at(found, 1),
                "longest_pause_ms": round(self.gaps[kind] * 1000, 1),
            }
            for kind, found in sorted(self.seconds.items())
        }
        return {
            "seconds": round(time.monotonic() - self.begun, 1),
            "answers": dict(sorted(self.answers.items())),
            "bad": self.bad,
            "figures": figures,
        }


def _at(found: list[float], share: float) -> float:
    ordered = sorted(found)
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 1)


class Client:
    """A client with one kept connection to nginx."""

    def __init__(self, told: Mapping[str, Any], host: str, log: Log) -> None:
        self._told = told
        self._host = host
        self._log = log
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE  # the certificate is the self-signed placeholder
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, kind: str, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> bytes:
        """Send a request and record its result; nothing is retried."""
        began = time.monotonic()
        try:
            connection = self._connection = self._connection or self._connect()
            connection.request(method, path, body, {"Host": self._host, **headers})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self._log.note(kind, type(error).__name__, began)
            return b""
        self._log.note(kind, answer.status, began)
        if answer.will_close:
            self.close()
        return content

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT)
        plain = socket.create_connection((self._told["address"], self._told["port"]), timeout=TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock = self._context.wrap_socket(plain, server_hostname=self._host)
        return connection


def use_proxy(told: Mapping[str, Any], secret: str, log: Log, leaving: threading.Event) -> None:
    """Send GET and POST requests with one token."""
    client, headers = Client(told, told["proxy_host"], log), {"X-Access-Token": secret}
    while not leaving.is_set():
        client.ask("proxy GET", "GET", "/certificates/filter", headers)
        client.ask("proxy POST", "POST", "/echo/fleet", headers, b"x" * 2000)
        leaving.wait(told["proxy_pause"])
    client.close()


def log_in(told: Mapping[str, Any], log: Log) -> str:
    """Log in to the API and return the bearer token."""
    credentials = json.dumps({"email": told["email"], "password": told["password"]}).encode()
    client = Client(told, told["portal_host"], log)
    answer = client.ask("portal login", "POST", "/api/v1/auth/login", AS_JSON, credentials)
    client.close()
    return str(json.loads(answer)["access_token"])


def use_portal(told: Mapping[str, Any], bearer: str, log: Log, leaving: threading.Event) -> None:
    """Fetch a page and buy a token, alternating; purchases have no idempotency key, so nothing may be retried."""
    client, headers = Client(told, told["portal_host"], log), AS_JSON | {"Authorization": f"Bearer {bearer}"}
    purchase = json.dumps({"duration_hours": 1, "scope": "full", "name": told["name"]}).encode()
    while not leaving.is_set():
        client.ask("portal GET", "GET", "/login", {})
        client.ask("portal POST", "POST", "/api/v1/tokens/purchase", headers, purchase)
        leaving.wait(told["portal_pause"])
    client.close()


def main(arguments: list[str]) -> int:
    """Run all clients until SIGTERM."""
    told = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    log, leaving = Log(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    bearer = log_in(told, log)
    threads = [
        threading.Thread(target=use_proxy, args=(told, secret, log, leaving), daemon=True) for secret in told["tokens"]
    ]
    threads += [
        threading.Thread(target=use_portal, args=(told, bearer, log, leaving), daemon=True)
        for _ in range(told["buyers"])
    ]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    while not leaving.wait(0.5):
        pass
    for thread in threads:
        thread.join(TIMEOUT)
    print(json.dumps(log.as_dict()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

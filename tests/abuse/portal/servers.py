"""Runs the portal as in production: gunicorn on a socket, behind a simulated reverse proxy that ends TLS."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from tests.addon.processes import ROOT, free_port
from tests.conftest import PASSWORD

HOST = "shop.example"


@dataclass
class Answer:
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def location(self) -> str:
        return self.headers["Location"] or ""


@dataclass
class Running:
    """A running portal; `log` is its whole output, including the access log."""

    port: int
    log: Path

    def send(self, raw: bytes) -> bytes:
        """Send bytes on a new connection and return the whole response."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(raw)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer

    def visitor(self, address: str) -> "Visitor":
        """Return a browser that connects through the reverse proxy from an address."""
        return Visitor(self, address)


@dataclass
class Visitor:
    """A browser: keeps cookies and fills in the CSRF token."""

    portal: Running
    address: str
    cookies: dict[str, str] = field(default_factory=dict)
    token: str = ""

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str | None] | None = None
    ) -> Answer:
        """Send a request as the reverse proxy forwards it; a header of None is left out."""
        usual: dict[str, str | None] = {
            "Host": HOST,
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": self.address,
            "Referer": f"https://{HOST}/",
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()) or None,
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.portal.port, timeout=30)
        sent = {name: value for name, value in {**usual, **(headers or {})}.items() if value is not None}
        try:
            connection.request(method, path, body=body, headers=sent)
            reply = connection.getresponse()
            answer = Answer(reply.status, reply.headers, reply.read().decode())
        finally:
            connection.close()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, headers: Mapping[str, str | None] | None = None, **fields: str) -> Answer:
        """Send a form."""
        if not self.token:
            self.renew_token()
        body = urlencode({"csrf_token": self.token, **fields}).encode()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, body, {**form, **(headers or {})})

    def renew_token(self) -> None:
        """Load a form to get its CSRF token."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get("/").text)
        assert found is not None
        self.token = found[1]

    def log_in(self, email: str, password: str = PASSWORD, **fields: str) -> Answer:
        """Log in, and use the CSRF token of the new session."""
        answer = self.post("/login", email=email, password=password, **fields)
        if answer.status == 303:
            self.renew_token()
        return answer

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Call the API as an API client does."""
        sent = {"Content-Type": "application/json", "Cookie": None, **headers}
        return self.ask(method, f"/api/v1{path}", json.dumps(body or {}).encode(), sent)


@contextmanager
def production(environment: Mapping[str, str], log: Path, **more: str) -> Iterator[Running]:
    """Run the portal of an environment with a database until the end of the block."""
    port = free_port()
    settings = {
        "PLATFORM__ENVIRONMENT": "production",
        "PORTAL__PUBLIC_URL": f"https://{HOST}",
        "PROXY__PUBLIC_URL": "https://proxy.example",
        "UPSTREAM__URL": "http://127.0.0.1:9",
        "PAYMENTS__PROVIDERS": "[]",
        "PORTAL__TRUSTED_PROXIES": "1",
        "PORTAL__PORT": str(port),
        **more,
    }
    command = [
        sys.executable,
        "-P",
        "-m",
        "gunicorn",
        "-c",
        str(ROOT / "ops/container/gunicorn.conf.py"),
        "portal:create_app()",
    ]
    found = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COV")}
    variables = {**found, **environment, **{f"ZENZEFI_{name}": value for name, value in settings.items()}}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--access-logfile", "-"],
            cwd=ROOT,
            env={**variables, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the portal never listened"
            time.sleep(0.05)
        yield Running(port, log)
    finally:
        process.terminate()
        process.wait(timeout=60)

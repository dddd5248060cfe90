"""The viewer of `./zenzefi inspect` as a real process."""

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.addon.processes import ROOT, Reply, free_port


@dataclass
class Viewer:
    """A running `./zenzefi inspect`."""

    process: "subprocess.Popen[str]"
    port: int
    password: str

    def ask(
        self, path: str, method: str = "GET", *, password: str | None = None, body: bytes | None = None, **headers: str
    ) -> Reply:
        """Send a request to its API, with its password unless another one is given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Authorization": f"Bearer {self.password if password is None else password}", **headers}
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def flows(self) -> list[dict[str, Any]]:
        """Return the flows in its list."""
        found: list[dict[str, Any]] = json.loads(self.ask("/flows").body)
        return found

    def paths(self) -> list[str]:
        return [flow["request"]["path"] for flow in self.flows()]

    def content(self, flow: dict[str, Any], message: str) -> str:
        """Return a body."""
        return self.ask(f"/flows/{flow['id']}/{message}/content.data").body.decode()


@contextmanager
def viewer(environment: Mapping[str, str], data: Path) -> Iterator[Viewer]:
    """Start the viewer and wait until it answers."""
    port = free_port()
    command = [sys.executable, "-m", "ops.inspect", "--port", str(port), "--data", str(data)]
    process = subprocess.Popen(command, cwd=ROOT, env=dict(environment), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(4)]
        found = re.search(r"^Password +(\S+)$", said[1])
        assert found is not None, said
        running = Viewer(process, port, found[1])
        deadline = time.monotonic() + 60
        while True:
            try:
                assert running.ask("/flows").status == 200
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield running
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

"""A worker process for tests, with raw servers and clients."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[3]


TOKEN = b"X-Access-Token: good\r\n"


MIB = 1024 * 1024


class Upstream:
    """A raw server: `serve` handles each connection in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.serve = serve
        self.context = context
        self.accepted = 0
        self.ended: list[float] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        return self.listener.getsockname()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.accepted += 1
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            self.serve(connection)
        self.ended.append(time.monotonic())
        connection.close()


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError("closed")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def serve_everything(connection: socket.socket) -> None:
    """Serve a few paths, one request after the other."""
    while True:
        head, rest = read_head(connection)
        path = head.split()[1]
        match = re.search(rb"Content-Length: (\d+)", head)
        left = (int(match[1]) if match else 0) - len(rest)
        size = int(path.rpartition(b"/")[2]) if path[-1:].isdigit() else 0
        if path.startswith(b"/download/"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            block = b"x" * MIB
            while size:
                size -= connection.send(block[:size])
            continue
        if path.startswith(b"/hang"):
            time.sleep(size or 60)
        if path == b"/never-reads":
            time.sleep(60)
        if path == b"/echo":
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := connection.recv(65536):
                connection.sendall(data)
            return
        if path == b"/events":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for number in range(100):
                connection.sendall(b"data: %d\n\n" % number)
                time.sleep(0.2)
            return
        if path == b"/garbage":
            connection.sendall(b"\x00\x01\x02 nonsense\r\n\r\n" * 10)
            return
        if path == b"/close":
            return
        if path == b"/half":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            return
        if b"Expect: 100-continue" in head:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while left > 0:
            data = connection.recv(min(left, MIB))
            if not data:
                return
            left -= len(data)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


class Worker:
    """The process under test."""

    def __init__(self, upstream: tuple[str, int], limits: dict[str, float], **more: object) -> None:
        settings = json.dumps({"upstream": upstream, "limits": limits, **more})
        command = [sys.executable, "-m", "tests.addon.http1.worker", settings]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()
        self.port = int(line)

    def connect(self, *, buffer: int = 0) -> socket.socket:
        client = socket.socket()
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(10)
        client.connect(("127.0.0.1", self.port))
        return client

    def ask(self, request: bytes) -> bytes:
        """Send one request, return all that comes until the connection ends."""
        with self.connect() as client:
            client.sendall(request)
            return read_all(client)

    def local(self, path: str) -> list[object]:
        reply = self.ask(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
        return json.loads(reply.partition(b"\r\n\r\n")[2])

    @property
    def memory(self) -> int:
        """Resident memory in bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024

    @property
    def peak(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * 1024

    @property
    def cpu_seconds(self) -> float:
        """The CPU time that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self) -> tuple[int, bytes]:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            _, errors = self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, errors = self.process.communicate()
        return self.process.returncode, errors


def wait_until(holds: Callable[[], object], seconds: float = 10) -> float:
    """Wait for a condition; return how long it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, "it never came true"
        time.sleep(0.01)
    return time.monotonic() - started


def read_all(client: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionResetError):
        while more := client.recv(65536):
            data += more
    return data


LIMITS = {
    "head_seconds": 1.5,
    "body_idle_seconds": 1.5,
    "connect_seconds": 1.0,
    "tls_seconds": 1.0,
    "first_byte_seconds": 2.0,
    "response_idle_seconds": 3.0,
    "linger_seconds": 0.5,
    "flush_seconds": 0.5,
    "keep_alive_seconds": 3.0,
}


def get(path: str, extra: bytes = b"", *, close: bool = True) -> bytes:
    ending = b"Connection: close\r\n" if close else b""
    return b"GET %b HTTP/1.1\r\nHost: a\r\n%b%b%b\r\n" % (path.encode(), TOKEN, extra, ending)


def upload(path: str, size: int, extra: bytes = b"", token: bytes = TOKEN) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%b%bContent-Length: %d\r\n\r\n" % (
        path.encode(),
        token,
        extra,
        size,
    )

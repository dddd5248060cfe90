"""Small, fast HTTP/1.1 upstream for benchmarks.

Paths: /small, a short JSON reply; /big, a body of the configured size; /upload, which discards a body. Requests have a
Content-Length or no body: parsing more would measure this server and not the proxy.
"""

import argparse
import asyncio
import re
import ssl

from ops.processes.ports import LOOPBACK

SMALL = b'{"id": 4711, "name": "certificate", "state": "active", "issuer": "Zenzefi", "serial": "00:11:22:33:44:55"}'
PIECE = bytes(256 * 1024)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def _ok(length: int, body: bytes = b"") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length
    return head + body


class Upstream(asyncio.Protocol):
    """One connection: heads are parsed, request bodies counted, and big replies written with back-pressure."""

    def __init__(self, big: int) -> None:
        self._big = big
        self._buffer = b""
        self._body = 0  # missing bytes of the request's body
        self._owed = 0  # unsent bytes of a big reply
        self._is_paused = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._body:
            if len(data) < self._body:
                self._body -= len(data)
                return
            data, self._body = data[self._body :], 0
            self._write(_ok(len(SMALL), SMALL))
        self._buffer += data
        while b"\r\n\r\n" in self._buffer and not self._owed and not self._body:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        if length > len(self._buffer):
            self._body, self._buffer = length - len(self._buffer), b""
            return
        self._buffer = self._buffer[length:]
        if head.startswith(b"GET /big "):
            self._owed = self._big
            self._write(_ok(self._big))
            self._send_on()
        else:
            self._write(_ok(len(SMALL), SMALL))

    def _send_on(self) -> None:
        while self._owed and not self._is_paused:
            piece = PIECE[: self._owed]
            self._owed -= len(piece)
            self._write(piece)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._send_on()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        self._owed, self._transport = 0, None


async def _serve(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(options.bytes), LOOPBACK, options.port, backlog=1024)
    if options.tls_port:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate, options.key)
        await loop.create_server(lambda: Upstream(options.bytes), LOOPBACK, options.tls_port, ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--tls-port", type=int)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    asyncio.run(_serve(parser.parse_args()))

"""Minimal HTTP/1.1 server for the sample upstream: request bodies are only hashed, replies may be streamed."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

CHUNK = 64 * 1024
# Time limit for a head and for each piece of a body, against clients that send half a request.
READ_SECONDS = 75.0
JSON = "application/json"


class BadRequest(Exception):
    """The received bytes are not an HTTP/1.1 request."""


@dataclass
class Request:
    """A request whose body was read and hashed, but not kept."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body_length: int = 0
    body_hash: str = field(default_factory=lambda: hashlib.sha256().hexdigest())

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    def header(self, name: str) -> str:
        """Return a header's value, "" when it is missing; names are compared without case."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def argument(self, name: str, default: str) -> str:
        return parse_qs(urlsplit(self.target).query).get(name, [default])[0]


@dataclass
class Reply:
    """A reply: a whole body, or a stream with its length if known."""

    body: bytes = b""
    content_type: str = JSON
    status: HTTPStatus = HTTPStatus.OK
    stream: AsyncIterator[bytes] | None = None
    length: int | None = None


async def serve_connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[Request], Awaitable[Reply]]
) -> None:
    """Answer the requests of a connection until either side closes it."""
    try:
        while True:
            try:
                request = await _read(reader, writer)
            except (BadRequest, asyncio.LimitOverrunError, ValueError) as error:
                await _send(writer, Reply(as_json({"detail": str(error)}), status=HTTPStatus.BAD_REQUEST), "GET", False)
                return
            if request is None:
                return
            keep = request.header("connection").lower() != "close"
            await _send(writer, await answer(request), request.method, keep)
            if not keep:
                return
    except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """Read one request with its body; None when the client has closed instead."""
    try:
        head = await _line(reader, b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest("not an HTTP/1.1 request line")
    pairs = (line.partition(":") for line in lines)
    request = Request(parts[0], parts[1], [(name, value.strip()) for name, _, value in pairs])
    if request.header("expect").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    total = hashlib.sha256()
    async for piece in _body(reader, request):
        total.update(piece)
        request.body_length += len(piece)
    request.body_hash = total.hexdigest()
    return request


async def _body(reader: asyncio.StreamReader, request: Request) -> AsyncIterator[bytes]:
    if "chunked" not in request.header("transfer-encoding").lower():
        async for piece in _exactly(reader, int(request.header("content-length") or 0)):
            yield piece
        return
    while size := int((await _line(reader)).partition(b";")[0], 16):
        async for piece in _exactly(reader, size):
            yield piece
        await _line(reader)
    while await _line(reader) != b"\r\n":  # trailers
        pass


async def _line(reader: asyncio.StreamReader, end: bytes = b"\r\n") -> bytes:
    async with asyncio.timeout(READ_SECONDS):
        return await reader.readuntil(end)


async def _exactly(reader: asyncio.StreamReader, length: int) -> AsyncIterator[bytes]:
    if length < 0:
        raise BadRequest("a negative Content-Length")
    while length:
        async with asyncio.timeout(READ_SECONDS):
            piece = await reader.read(min(length, CHUNK))
        if not piece:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(piece)
        yield piece


async def _send(writer: asyncio.StreamWriter, reply: Reply, method: str, keep: bool) -> None:
    """Send head and a short body in one write: with two, each reply would wait for a delayed ACK."""
    length = len(reply.body) if reply.stream is None else reply.length
    lines = [f"HTTP/1.1 {reply.status.value} {reply.status.phrase}", f"Content-Type: {reply.content_type}"]
    lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if method == "HEAD" or reply.stream is None:
        writer.write(head if method == "HEAD" else head + reply.body)
        await writer.drain()
        return
    writer.write(head)
    async for piece in reply.stream:
        writer.write(piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
    if length is None:
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def as_json(value: object) -> bytes:
    """Return a value as one line of JSON."""
    return json.dumps(value).encode() + b"\n"

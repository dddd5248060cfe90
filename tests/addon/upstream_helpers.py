"""A server with one fixed response, for tests of the prober."""

import asyncio
import contextlib
import ssl
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass
class FixedServer:
    """Sends the same bytes on every connection, or closes it, or hangs; it can be stopped and started again."""

    port: int
    answer: bytes | None = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    requests: list[bytes] = field(default_factory=list)
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def start(self) -> None:
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls))

    def stop(self) -> None:
        if self._server is not None:
            self._do(self._close(self._server))
            self._server = None

    def end(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    @staticmethod
    async def _close(server: asyncio.Server) -> None:
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if self.answer is None:
                await asyncio.sleep(3)
            writer.write(self.answer or b"")
        writer.close()

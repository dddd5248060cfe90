"""Sample HTTP/1.1 upstream for a new installation: `python -m ops.servers.sample_upstream --port 9000`."""

import argparse
import asyncio
import html
import signal
from collections.abc import AsyncIterator
from http import HTTPStatus

from ops.servers.sample_http import CHUNK, Reply, Request, as_json, serve_connection

LONGEST_HEAD = 64 * 1024
LONGEST_SLEEP = 300.0
PATTERN = bytes(range(256)) * (CHUNK // 256)

CERTIFICATES = [
    {"id": str(number), "name": f"Certificate {number}", "valid": number % 5 != 0, "serial": f"{number:08X}"}
    for number in range(1, 21)
]


async def answer(request: Request) -> Reply:  # noqa: PLR0911 - a table of paths
    """Choose the reply by the path."""
    first, _, rest = request.path.strip("/").partition("/")
    match first, rest:
        case "", "":
            return Reply(_index(), "text/html; charset=utf-8")
        case "certificates", "filter":
            return Reply(as_json({"items": CERTIFICATES, "total": len(CERTIFICATES)}))
        case "certificates", rest if rest.startswith("details/"):
            found = [item for item in CERTIFICATES if item["id"] == rest.removeprefix("details/")]
            return Reply(as_json(found[0])) if found else _missing()
        case "users", "currentUser":
            return Reply(as_json({"username": "sample", "id": request.header("x-user-id")}))
        case "echo", _:
            facts = {"method": request.method, "path": request.target, "headers": request.headers}
            return Reply(as_json(facts | {"body_length": request.body_length, "body_sha256": request.body_hash}))
        case "bytes", number if number.isdecimal():
            return Reply(content_type="application/octet-stream", stream=_pattern(int(number)), length=int(number))
        case "slow", "":
            seconds = min(float(request.argument("seconds", "1")), LONGEST_SLEEP)
            await asyncio.sleep(max(seconds, 0))
            return Reply(as_json({"slept": seconds}))
        case "sse", "":
            return Reply(content_type="text/event-stream", stream=_events())
    return _missing()


async def _pattern(length: int) -> AsyncIterator[bytes]:
    """Yield a repeating sequence of the bytes 0 to 255, which tests can predict."""
    for start in range(0, length, CHUNK):
        yield PATTERN[: min(CHUNK, length - start)]


async def _events() -> AsyncIterator[bytes]:
    for number in range(1, 6):
        yield f"id: {number}\ndata: event {number}\n\n".encode()
        await asyncio.sleep(0.2)


def _index() -> bytes:
    places = ["certificates/filter", "certificates/details/1", "users/currentUser", "echo", "bytes/1000000", "sse"]
    links = "".join(f'<li><a href="/{html.escape(place)}">/{html.escape(place)}</a></li>' for place in places)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Sample upstream</title>"
        "<h1>Sample upstream</h1><p>This server stands in for the real upstream. It is reached through the proxy,"
        f" with an access token.</p><ul>{links}</ul></html>\n"
    ).encode()


def _missing() -> Reply:
    return Reply(as_json({"detail": "Not found."}), status=HTTPStatus.NOT_FOUND)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await serve_connection(reader, writer, answer)


async def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = await asyncio.start_server(_serve, options.host, options.port, limit=LONGEST_HEAD, backlog=1024)
    print(f"sample upstream at http://{options.host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())

"""The sample upstream: plain, streamed and unusual requests over one kept connection."""

import asyncio
import hashlib
import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ops.bootstrap import REPOSITORY
from ops.launcher.readiness import responds_ok
from ops.processes.ports import free_port
from ops.servers import sample_http
from ops.servers.sample_upstream import _serve
from tests.ops.conftest import wait_until


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ops.servers.sample_upstream", "--port", str(port)], cwd="/",
        env={"PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: responds_ok("127.0.0.1", port, "/"))
    yield port
    process.terminate()
    assert process.wait(10) == 0


@pytest.fixture
def client(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    yield connection
    connection.close()


def get(client: http.client.HTTPConnection, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    client.request(method, path)
    reply = client.getresponse()
    return reply, reply.read()


def test_one_connection_serves_every_page(client: http.client.HTTPConnection) -> None:
    reply, page = get(client, "/")
    first = client.sock
    assert (reply.status, reply.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
    assert b"<h1>" in page
    assert json.loads(get(client, "/certificates/filter")[1])["total"] == 20
    assert json.loads(get(client, "/certificates/details/7")[1])["name"] == "Certificate 7"
    assert get(client, "/certificates/details/700")[0].status == 404
    assert json.loads(get(client, "/users/currentUser")[1])["username"] == "sample"
    assert json.loads(get(client, "/slow?seconds=0.01")[1]) == {"slept": 0.01}
    assert get(client, "/nothing")[0].status == 404
    assert client.sock is first


def test_bytes_have_the_requested_length_and_known_content(client: http.client.HTTPConnection) -> None:
    reply, body = get(client, "/bytes/300000")

    assert reply.getheader("Content-Length") == "300000"
    assert body == (bytes(range(256)) * 1200)[:300000]


def test_a_head_response_has_a_length_and_no_body(client: http.client.HTTPConnection) -> None:
    reply, body = get(client, "/bytes/1000000000", "HEAD")

    assert (reply.getheader("Content-Length"), body) == ("1000000000", b"")
    assert get(client, "/")[0].status == 200


def test_events_are_streamed(client: http.client.HTTPConnection) -> None:
    reply, body = get(client, "/sse")

    assert reply.getheader("Content-Type") == "text/event-stream"
    assert body.count(b"data: event ") == 5


@pytest.mark.parametrize("chunked", [False, True])
def test_echo_hashes_the_body(client: http.client.HTTPConnection, chunked: bool) -> None:
    body = b"z" * 200_000
    pieces = iter([body[:70_000], body[70_000:]]) if chunked else body
    client.request("POST", "/echo/deep?a=1", body=pieces, headers={"X-Odd": "Yes"}, encode_chunked=chunked)

    facts = json.loads(client.getresponse().read())

    assert (facts["method"], facts["path"]) == ("POST", "/echo/deep?a=1")
    assert facts["body_length"] == 200_000
    assert facts["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert ["X-Odd", "Yes"] in facts["headers"]


def test_a_client_that_expects_100_continue_gets_it(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(b"PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 100 ")
        raw.sendall(b"ok")
        assert b"HTTP/1.1 200 OK" in raw.recv(10000)


@pytest.mark.parametrize("bytes_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
def test_malformed_requests_are_rejected_and_the_connection_is_closed(port: int, bytes_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(bytes_)
        received = b"".join(iter(lambda: raw.recv(10000), b""))
        assert received.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "half",
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf",
        b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    ],
)
def test_a_client_that_sends_half_a_request_is_disconnected(half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_http, "READ_SECONDS", 0.1)

    async def ask() -> bytes:
        server = await asyncio.start_server(_serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(half)
            async with asyncio.timeout(5):
                answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(ask()) == b""

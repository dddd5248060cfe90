"""The MCP server as a process, on standard input and over HTTP; on Python 3.13 only, like the library."""

import http.client
import json
import os
import subprocess
import sys
import uuid
from typing import Any

import pytest

from ops.bootstrap import REPOSITORY
from ops.mcp.read_tools import ReadTools
from tests.e2e.conftest import free_port, wait_until_listening
from tests.ops.mcp.conftest import Committed


@pytest.fixture
def environment_of(committed: Committed, environment: dict[str, str]) -> dict[str, str]:
    """The server's environment variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZENZEFI_", "COV_"))}
    return {**kept, **environment, "DATABASE_URL": committed[0].database.url, "PYTHONPATH": str(REPOSITORY)}


def talk(environment: dict[str, str], *arguments: str, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send requests to a server on standard input, and return its responses in order."""
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    lines: list[dict[str, Any]] = [{"id": 0, "method": "initialize", "params": hello}]
    lines += [{"method": "notifications/initialized"}, *({"id": n, **call} for n, call in enumerate(calls, start=1))]
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "ops.mcp", *arguments],
        env=environment,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    answers = []
    try:
        for line in lines:
            server.stdin.write(json.dumps({"jsonrpc": "2.0", **line}) + "\n")
            server.stdin.flush()
            if "id" in line:
                answers.append(json.loads(server.stdout.readline()))
    finally:
        server.stdin.close()
        server.wait(timeout=20)
    return answers


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"method": "tools/call", "params": {"name": name, "arguments": arguments}}


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a tool."""
    found: dict[str, Any] = json.loads(answer["result"]["content"][0]["text"])
    return found


def test_the_server_speaks_mcp_on_standard_input_and_is_read_only_by_default(
    read_tools: ReadTools, environment_of: dict[str, str], committed: Committed
) -> None:
    hello, tools, users, bad, unknown = talk(
        environment_of,
        calls=[
            {"method": "tools/list"},
            call("find_users", words="alice"),
            call("show_user", user="nobody"),
            call("disable_user", user="alice@example.test"),
        ],
    )
    assert hello["result"]["serverInfo"]["name"] == "zenzefi"
    names = {tool["name"]: tool for tool in tools["result"]["tools"]}
    assert set(names) == {tool.__name__ for tool in read_tools.tools()}
    assert all(tool["annotations"]["readOnlyHint"] and tool["description"] for tool in names.values())
    assert told(users)["items"][0]["username"] == "alice"
    assert told(bad)["error"] == "invalid_input"
    assert "error" in unknown or unknown["result"]["isError"]
    assert read_tools.show_user("alice@example.test")["is_active"] is True


def test_with_write_access_changes_are_made_in_the_admins_name(
    read_tools: ReadTools, environment_of: dict[str, str], committed: Committed
) -> None:
    arguments = {"user": "alice@example.test", "amount": "-2.00", "reason": "Test", "key": str(uuid.uuid4())}
    _hello, first, again = talk(
        environment_of,
        *("--allow-changes", "--as", "dana@example.test"),
        calls=[call("adjust_balance", **arguments), call("adjust_balance", **arguments)],
    )
    assert told(first) == {"new_balance": "80.00"}
    assert told(again)["error"] == "duplicate_transfer"
    assert read_tools.find_users("alice")["items"][0]["currency_balance"] == "80.00"


def test_over_http_only_clients_with_the_key_are_served_on_loopback(
    read_tools: ReadTools, environment_of: dict[str, str]
) -> None:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "ops.mcp", "--http", str(port)],
        env={**environment_of, "ZENZEFI_MCP_KEY": "a key for this test"},
        cwd="/",
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    try:
        assert f"http://127.0.0.1:{port}/mcp" in server.stderr.readline()
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        }
        statuses = [asked(port, key, body) for key in ("", "Bearer wrong", "Bearer a key for this test")]
    finally:
        server.terminate()
        server.wait(timeout=20)
    assert statuses == [401, 401, 200]


def asked(port: int, key: str, body: dict[str, Any]) -> int:
    """Return the status of a request to the server, once it listens."""
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    wait_until_listening(port)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", "/mcp", json.dumps(body), {**headers, "Authorization": key})
    return connection.getresponse().status

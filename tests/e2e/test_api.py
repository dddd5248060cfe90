"""The API from outside: the commands of docs/api.md, the API reference pages, and the desktop client."""

import re
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import ROOT, Shop, clean_environment
from tests.e2e.steps import buy, register_and_log_in, top_up

DOCUMENT = ROOT / "docs" / "api.md"


def test_every_command_of_the_api_page_works(shop: Shop, tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    script = tmp_path / "journeys.sh"
    script.write_text("set -euxo pipefail\n" + "\n".join(blocks), encoding="utf-8")
    facts = {
        "PORTAL": shop.portal,
        "NAME": "apijourney",
        "ADMIN_EMAIL": shop.ready["admin_email"],
        "ADMIN_PASSWORD": shop.ready["admin_password"],
    }
    done = subprocess.run(
        ["bash", str(script)], capture_output=True, text=True, check=False, env={**clean_environment(), **facts}
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]


@pytest.mark.parametrize(("path", "drawn"), [("/docs", ".opblock"), ("/redoc", "[data-section-id]")])
def test_the_api_reference_loads_nothing_from_other_hosts(shop: Shop, page: Page, path: str, drawn: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{shop.portal}{path}")
    expect(page.locator(drawn).first).to_be_visible(timeout=30_000)
    assert [url for url in asked if not url.startswith((shop.portal, "data:", "blob:"))] == []


CLIENTS_HEADERS = (
    b"User-Agent: python-requests/2.31.0\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: close\r\n"
)


def exchange(address: str, request: bytes) -> tuple[bytes, bytes]:
    """Send bytes and return head and body of the response."""
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.lower(), body


def test_the_three_calls_of_the_desktop_client_get_the_expected_bytes(shop: Shop, page: Page) -> None:
    register_and_log_in(page, shop, "desktop")
    top_up(page, shop, "50")
    secret = buy(page, shop, hours=24, name="desktop").secret.encode()
    host = urlsplit(shop.proxy).netloc.encode()
    common = b"Host: " + host + b"\r\n" + CLIENTS_HEADERS
    for base in (shop.proxy, shop.portal):
        for path in (b"/health", b"//health"):
            head, body = exchange(base, b"GET " + path + b" HTTP/1.1\r\n" + common + b"\r\n")
            assert head.startswith(b"http/1.1 200 ")
            assert b"content-type: application/json" in head
            assert re.search(rb'"status": ?"(healthy|degraded|unhealthy)"', body)
            assert b'"timestamp"' in body
    status = b"GET /api/v1/proxy/status HTTP/1.1\r\n" + common + b"X-Access-Token: " + secret + b"\r\n\r\n"
    head, body = exchange(shop.proxy, status)
    assert head.startswith(b"http/1.1 200 ")
    assert re.search(rb'"expires_at": ?null', body)
    assert re.search(rb'"is_activated": ?false', body)
    call = (
        b"GET /api/v1/proxy/users/currentUser?x=1 HTTP/1.1\r\n" + common
        + b"X-Access-Token: " + secret + b"\r\nX-Device-ID: 0123456789abcdef0123\r\n\r\n"
    )  # fmt: skip
    head, body = exchange(shop.proxy, call)
    assert head.startswith(b"http/1.1 200 ")
    assert not (b"content-encoding:" in head and b"content-length:" in head)
    assert body
    # The other worker may have the token in its cache until it is notified of the activation.
    deadline = time.monotonic() + 5
    while b'"expires_at":null' in body.replace(b" ", b"") or b'"expires_at"' not in body:
        assert time.monotonic() < deadline, body
        head, body = exchange(shop.proxy, status)
    assert re.search(rb'"expires_at": ?"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"', body)
    head, _body = exchange(shop.proxy, status.replace(secret, b"x" * 64))
    assert head.startswith(b"http/1.1 401 ")

"""nginx with the deployed configuration: forwarded requests, client addresses, rejected requests, log."""

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.dev.nginx_edge import FILES, Edge, fill_template
from tests.addon.processes import free_port, listeners
from tests.ops.conftest import wait_until


class Echo(http.server.BaseHTTPRequestHandler):
    """Responds with the request that it received."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        said = {"path": self.path, "headers": dict(self.headers.items()), "body": len(body)}
        answer = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Machine", str(self.server.server_port))  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815 - http.server looks for this name

    def log_message(self, *_: object) -> None:
        pass


class Running:
    """nginx in front of an echo server for each part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) for _ in range(2)]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        portal, proxy = (f"127.0.0.1:{server.server_port}" for server in self.servers)
        self.plain, self.tls = free_port(), free_port()
        gone = f"127.0.0.1:{free_port()}"  # the other machine of each, which is away
        edge = Edge(folder, [gone, portal], [gone, proxy], plain=f"127.0.0.1:{self.plain}", tls=f"127.0.0.1:{self.tls}")
        self.process = subprocess.Popen(edge.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: listeners(self.tls))
        except AssertionError:
            self.process.kill()
            raise AssertionError(self.process.communicate()) from None

    def curl(self, host: str, path: str, *options: str, tls: bool = True) -> tuple[str, str]:
        """Request a path of a host; returns "status protocol redirect" and the body."""
        port = self.tls if tls else self.plain
        origin = f"{'https' if tls else 'http'}://{host}:{port}"
        done = subprocess.run(
            ["curl", "-sk", "--path-as-is", "--resolve", f"{host}:{port}:127.0.0.1", "-w",
             "\n%{http_code} %{http_version} %{redirect_url}", *options, origin + path],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
        body, _, told = done.stdout.rpartition("\n")
        return told.strip(), body

    def stop(self) -> str:
        self.process.terminate()
        output, _ = self.process.communicate(timeout=10)
        for server in self.servers:
            server.shutdown()
            server.server_close()
        return output


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("edge"))
    yield running
    running.stop()


PORTAL, PROXY = "portal.example.com", "proxy.example.com"


def test_both_names_are_served_over_http_2_and_lead_to_their_parts(nginx: Running) -> None:
    for host, server in zip((PORTAL, PROXY), nginx.servers, strict=True):
        told, body = nginx.curl(host, "/a%2Fb//c?d=%20", "-D", "-")
        assert told == "200 2"
        assert f"x-machine: {server.server_port}" in body
        assert '"path": "/a%2Fb//c?d=%20"' in body  # byte for byte


def test_only_nginx_sets_the_address_of_a_client(nginx: Running) -> None:
    forged = ["-H", "X-Forwarded-For: 203.0.113.9", "-H", "Forwarded: for=203.0.113.9", "-H", "X-Request-ID: mine"]
    for host in (PORTAL, PROXY):
        headers = json.loads(nginx.curl(host, "/", *forged, "-H", "X-Forwarded-Proto: http")[1])["headers"]
        assert headers["X-Forwarded-For"] == "127.0.0.1"
        assert headers["X-Forwarded-Proto"] == "https"
        assert headers["Host"] == host
        assert headers["X-Request-ID"] != "mine"
        assert "Forwarded" not in headers


def test_connections_to_the_proxy_are_kept_and_those_to_the_portal_are_not(nginx: Running) -> None:
    assert json.loads(nginx.curl(PORTAL, "/")[1])["headers"]["Connection"] == "close"
    assert "Connection" not in json.loads(nginx.curl(PROXY, "/")[1])["headers"]
    upgraded = json.loads(nginx.curl(PROXY, "/", "--http1.1", "-H", "Upgrade: websocket")[1])["headers"]
    assert (upgraded["Connection"], upgraded["Upgrade"]) == ("upgrade", "websocket")


def test_a_large_body_passes_to_the_proxy_and_not_to_the_portal(nginx: Running, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"x" * (2 << 20))
    body = nginx.curl(PROXY, "/", "--data-binary", f"@{file}")[1]
    assert json.loads(body)["body"] == 2 << 20
    assert nginx.curl(PORTAL, "/", "--data-binary", f"@{file}")[0].startswith("413")


def test_metrics_are_internal_and_unknown_hosts_get_no_response(nginx: Running) -> None:
    assert nginx.curl(PORTAL, "/metrics")[0].startswith("404")
    assert nginx.curl(PROXY, "/_zenzefi/metrics")[0].startswith("404")
    assert nginx.curl("evil.example", "/")[0].startswith("000")
    assert nginx.curl("evil.example", "/", tls=False)[0].startswith("000")


def test_plain_http_leads_to_tls_and_keeps_the_method(nginx: Running) -> None:
    told, _ = nginx.curl(PORTAL, "/login?next=/", "-X", "POST", tls=False)
    assert told == "308 1.1 https://portal.example.com/login?next=/"


def test_the_log_contains_neither_query_strings_nor_login_links(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.curl(PROXY, "/_zenzefi/enter?ticket=secret-ticket")
    running.curl(PORTAL, "/reset/secret-link")
    lines = [json.loads(line) for line in running.stop().splitlines()]
    assert [line["path"] for line in lines] == ["/_zenzefi", "/reset"]
    assert not any("secret" in value for line in lines for value in map(str, line.values()))


@pytest.mark.parametrize("site", ["portal", "proxy"])
def test_the_configurations_for_tailscale_are_valid(tmp_path: Path, site: str) -> None:
    command = [part for part in Edge(tmp_path, ["127.0.0.1:1"], ["127.0.0.1:2"]).command() if "daemon off" not in part]
    for page in (tmp_path / "conf.d").iterdir():
        if page.name != "10-upstreams.conf":
            page.unlink()
    text = (FILES / f"tailscale/{site}.conf").read_text()
    (tmp_path / "conf.d/site.conf").write_text(text.replace("/etc/nginx/snippets", str(tmp_path / "snippets")))
    done = subprocess.run([*command[:-1], "-t"], capture_output=True, text=True, check=False)
    assert "test is successful" in done.stderr


def test_the_configuration_for_mitmweb_is_valid(tmp_path: Path) -> None:
    text = (FILES / "inspect.conf").read_text().replace("/tmp/", f"{tmp_path}/")  # noqa: S108 - the container's
    (tmp_path / "nginx.conf").write_text(text.replace("listen 8082", "listen 127.0.0.1:1"))
    program = Edge(tmp_path, ["127.0.0.1:1"], ["127.0.0.1:1"]).command()[0]
    command = [program, "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-t"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "syntax is ok" in done.stderr


def test_only_the_platforms_variables_of_a_template_are_replaced() -> None:
    assert fill_template("${PORTAL_HOST} $host ${uri}", {"PORTAL_HOST": "a", "PROXY_HOST": "b"}) == "a $host ${uri}"

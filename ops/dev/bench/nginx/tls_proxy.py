"""nginx configuration of a reverse proxy to TLS upstreams, with a pool of kept connections to each."""

from collections.abc import Mapping
from pathlib import Path

from ops.dev.bench.nginx import configuration
from ops.processes.ports import LOOPBACK

KEPT_CONNECTIONS = 64


def write(folder: Path, upstreams: Mapping[int, int], *, host: str, certificate: Path) -> Path:
    """Write the configuration: each port to listen on, and the port of its upstream."""
    servers = (
        f"""
  upstream origin{port} {{ server {LOOPBACK}:{upstream}; keepalive {KEPT_CONNECTIONS}; }}
  server {{ listen {LOOPBACK}:{port}; location / {{ proxy_pass https://origin{port}; }} }}"""
        for port, upstream in upstreams.items()
    )
    http = f"""
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host {host};
  proxy_ssl_server_name on; proxy_ssl_name {host}; proxy_ssl_protocols TLSv1.2 TLSv1.3;
  proxy_ssl_verify on; proxy_ssl_trusted_certificate {certificate};
{"".join(servers)}"""
    return configuration.write(folder, http)

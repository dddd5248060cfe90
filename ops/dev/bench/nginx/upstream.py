"""nginx configuration of the benchmark's upstream: a small reply, a big file, uploads passed to another server."""

from pathlib import Path

from ops.dev.bench.nginx import configuration
from ops.dev.bench.tls_upstream.endpoint import TlsEndpoint
from ops.dev.bench.upstream import SMALL
from ops.processes.ports import LOOPBACK


def write(folder: Path, port: int, sink: int, big: Path, tls: TlsEndpoint | None = None) -> Path:
    """Write the configuration; uploads go to the server on port `sink`."""
    listen_tls = tls and (
        f"listen {LOOPBACK}:{tls.port} ssl; ssl_protocols TLSv1.2 TLSv1.3;"
        f" ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key};"
    )
    http = f"""
  upstream sink {{ server {LOOPBACK}:{sink}; keepalive 16; }}
  server {{
    listen {LOOPBACK}:{port} backlog=1024;
    {listen_tls or ""}
    location = /small {{ default_type application/json; return 200 '{SMALL.decode()}'; }}
    location = /big {{ alias {big}; }}
    location = /upload {{
      proxy_pass http://sink; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;
    }}
  }}"""
    return configuration.write(folder, http, logs=False)

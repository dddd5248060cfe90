"""nginx configuration of the benchmark's upstream: a small reply, a big file, uploads passed to another server."""

import os
from pathlib import Path

from ops.dev.bench.upstream import SMALL
from ops.processes.ports import LOOPBACK

CONNECTIONS = 16384
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def write(folder: Path, port: int, sink: int, big: Path) -> Path:
    """Write a configuration that keeps every file in the folder; uploads go to the server on port `sink`."""
    user = "user root;" if os.geteuid() == 0 else ""
    paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    file = folder / "nginx.conf"
    file.write_text(
        f"""
{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
worker_rlimit_nofile {2 * CONNECTIONS};
events {{ worker_connections {CONNECTIONS}; }}
http {{
  access_log off; client_max_body_size 0; sendfile on; tcp_nodelay on;
  keepalive_requests 1000000000; keepalive_timeout 600s;
  {paths}
  upstream sink {{ server {LOOPBACK}:{sink}; keepalive 16; }}
  server {{
    listen {LOOPBACK}:{port} backlog=1024;
    location = /small {{ default_type application/json; return 200 '{SMALL.decode()}'; }}
    location = /big {{ alias {big}; }}
    location = /upload {{
      proxy_pass http://sink; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;
    }}
  }}
}}
""",
        encoding="utf-8",
    )
    return file

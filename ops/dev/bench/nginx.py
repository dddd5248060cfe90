"""Configurations of nginx: as the upstream of everything, and as a gateway with auth_request."""

import os
from pathlib import Path

from ops.dev.bench.upstream import SMALL
from ops.processes.ports import LOOPBACK

CONNECTIONS = 16384


def _frame(folder: Path, workers: int, inside: str) -> str:
    """Return a whole configuration that writes nowhere but into the folder."""
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""
{user} daemon off; worker_processes {workers}; pid {folder}/pid; error_log {folder}/error.log;
worker_rlimit_nofile {2 * CONNECTIONS};
events {{ worker_connections {CONNECTIONS}; }}
http {{
  access_log off; client_max_body_size 0; sendfile on; tcp_nodelay on;
  keepalive_requests 1000000000; keepalive_timeout 600s;
  {paths}
  {inside}
}}
"""


def upstream(folder: Path, port: int, sink: int, big: Path) -> str:
    """A server of a small reply and a big file; uploads are read by the sink on another port."""
    return _frame(
        folder,
        1,
        f"""
  upstream sink {{ server {LOOPBACK}:{sink}; keepalive 16; }}
  server {{
    listen {LOOPBACK}:{port} backlog=1024;
    location = /small {{ default_type application/json; return 200 '{SMALL.decode()}'; }}
    location = /big {{ alias {big}; }}
    location = /upload {{
      proxy_pass http://sink; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;
    }}
  }}""",
    )


def gateway(folder: Path, port: int, backend: int, check: Path) -> str:
    """A gateway that asks the check about each request, with connections kept to both and nothing buffered on disk."""
    return _frame(
        folder,
        2,
        f"""
  upstream backend {{ server {LOOPBACK}:{backend}; keepalive 256; keepalive_requests 1000000000; }}
  upstream check {{ server unix:{check}; keepalive 32; }}
  proxy_http_version 1.1; proxy_set_header Connection "";
  server {{
    listen {LOOPBACK}:{port} backlog=1024;
    location = /_check {{
      internal; proxy_pass http://check; proxy_pass_request_body off; proxy_set_header Content-Length "";
    }}
    location / {{
      auth_request /_check;
      proxy_pass http://backend; proxy_request_buffering off; proxy_max_temp_file_size 0;
    }}
  }}""",
    )

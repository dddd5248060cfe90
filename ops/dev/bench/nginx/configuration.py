"""Main part of the benchmark's nginx configurations: one worker process, and every file in a folder of the run."""

import os
from collections.abc import Sequence
from pathlib import Path

CONNECTIONS = 16384
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
# Lines are written in batches, as by our workers.
ACCESS_LOG = """
  log_format bench escape=json '{"time":"$time_iso8601","address":"$remote_addr","method":"$request_method",'
    '"path":"$uri","status":$status,"received":$request_length,"sent":$bytes_sent,"seconds":$request_time}';
  access_log %s/access.log bench buffer=64k flush=1s;"""


def write(folder: Path, http: str, *, modules: Sequence[Path] = (), logs: bool = True) -> Path:
    """Write a configuration with the contents of its `http` block; returns the file."""
    user = "user root;" if os.geteuid() == 0 else ""
    loaded = "".join(f"load_module {module};\n" for module in modules)
    paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    log = ACCESS_LOG % folder if logs else "access_log off;"
    file = folder / "nginx.conf"
    file.write_text(
        f"""
{loaded}{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
worker_rlimit_nofile {2 * CONNECTIONS};
events {{ worker_connections {CONNECTIONS}; }}
http {{
  client_max_body_size 0; sendfile on; tcp_nodelay on;
  keepalive_requests 1000000000; keepalive_timeout 600s;
  {paths}
  {log}
{http}
}}
""",
        encoding="utf-8",
    )
    return file


def command(program: str, file: Path) -> list[str]:
    """Return the command that runs nginx in the foreground with a configuration."""
    return [program, "-e", str(file.with_name("error.log")), "-c", str(file)]

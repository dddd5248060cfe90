"""A real PgBouncer in front of the tests' PostgreSQL, in the pooling mode that a test asks for."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from sqlalchemy.engine import make_url

from tests.addon.processes import free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@contextmanager
def pgbouncer(url: str, mode: str, *, more: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """Yield the address of the same database through a PgBouncer with `pool_mode = mode`."""
    assert PROGRAM is not None, "the tests need PgBouncer: apt-get install pgbouncer"
    with tempfile.TemporaryDirectory(prefix="zenzefi-pgbouncer-") as name:
        folder, port, target = Path(name), free_port(), make_url(url)
        owner = _owner(target.query.get("host"))
        (folder / "pgbouncer.ini").write_text(_configuration(url, port, mode, more))
        for path in (folder, folder / "pgbouncer.ini"):
            os.chown(path, owner, -1)
        process = subprocess.Popen(
            [PROGRAM, "--quiet", str(folder / "pgbouncer.ini")],
            user=owner if owner != os.geteuid() else None, cwd=folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait(process, port)
            through = target.set(host="127.0.0.1", port=port, password=None, query={})
            yield through.render_as_string(hide_password=False)
        finally:
            process.terminate()
            process.wait(timeout=10)


def _owner(socket_folder: object) -> int:
    """Return the user that may access PostgreSQL's socket folder; PgBouncer, too, refuses to run as root."""
    return Path(socket_folder).stat().st_uid if isinstance(socket_folder, str) else os.geteuid()


def _configuration(url: str, port: int, mode: str, more: Mapping[str, str]) -> str:
    target = make_url(url)
    host = target.query.get("host") or target.host or "127.0.0.1"
    server_port = target.port or target.query.get("port") or 5432
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": mode,
        "default_pool_size": 20,
        "max_client_conn": 500,
        **more,
    }
    server = f"* = host={host} port={server_port} user={target.username} password={target.password}"
    lines = ["[databases]", server, "[pgbouncer]", *(f"{name} = {value}" for name, value in settings.items())]
    return "\n".join(lines) + "\n"


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "PgBouncer ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("PgBouncer never listened")

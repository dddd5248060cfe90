"""Private Redis or Valkey server in a folder: persistent, accessible to its owner only."""

import os
import signal
from functools import cached_property
from pathlib import Path

import redis

from ops.console import Failure
from ops.processes import stale
from ops.processes.child import MARK, Child
from ops.processes.ports import LOOPBACK
from ops.processes.secret_files import private_folder, read_or_create_secret
from ops.servers.binaries import find_redis
from ops.servers.private_server import PrivateServer


class RedisServer(PrivateServer):
    """`with RedisServer(folder) as server:` starts a Redis whose data, socket and configuration are in the folder."""

    @property
    def default_secrets(self) -> Path:
        return self.folder

    @property
    def longest_socket_path(self) -> Path:
        return self._socket

    @property
    def url(self) -> str:
        """The server's address, with its password."""
        if self._port:
            return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"
        return f"unix://:{self._password}@{self._socket}?db=0"

    @cached_property
    def child(self) -> Child:
        """The server's process; call `prepare` before it is spawned."""
        environment = {"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC"}
        return Child(
            name="redis",
            command=[str(find_redis()), str(self.folder / "redis.conf")],
            log=self._log,
            environment=environment | ({MARK: self._mark} if self._mark else {}),
            ready=lambda _: self._is_ready(),
            death_signal=signal.SIGTERM,
        )

    def prepare(self) -> None:
        """Write the configuration, and end a server that a killed launcher left in the folder."""
        private_folder(self.folder)
        if not stale.end(stale.with_working_folder(self.folder.resolve()), signal.SIGTERM, 10):
            raise Failure(f"Another Redis uses {self.folder} and cannot be stopped.")
        configuration = self.folder / "redis.conf"
        configuration.touch(0o600)
        configuration.write_text(self._configuration(), encoding="utf-8")

    @property
    def _socket(self) -> Path:
        return self.folder / "redis.sock"

    @cached_property
    def _password(self) -> str:
        self._secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        return read_or_create_secret(self._secrets / "redis.password")

    def _configuration(self) -> str:
        """Return the configuration file; a password on the command line would be visible to other users."""
        folder = str(self.folder).replace("\\", "\\\\").replace('"', '\\"')
        lines = [
            f'dir "{folder}"',
            f"requirepass {self._password}",
            "daemonize no",
            "databases 16",
            "maxmemory-policy noeviction",
            'save ""',  # the append-only file alone keeps the data
            "appendonly yes",
            "aof-use-rdb-preamble no",  # plain commands, so that another version or Valkey can read them too
            f"appendfsync {'no' if self.fast else 'everysec'}",
            f"port {self._port}",
            f"bind {LOOPBACK}",
        ]
        if not self._port:
            lines += [f"unixsocket {self._socket}", "unixsocketperm 700"]
        return "\n".join(lines) + "\n"

    def _is_ready(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:  # not started yet, or still loading its data
            return False
        finally:
            client.close()

"""Base of the private servers: where their files are, and how they are started and stopped."""

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from ops.processes.child import Child
from ops.processes.ports import free_port, is_valid_socket_path


class PrivateServer(ABC):
    """A server in a folder, with its password in `secrets` and its log in `log` (default: beside the folder).

    It listens on a Unix socket in the folder, or on a loopback port where the socket's path would be too long.
    `fast=True` is for tests: data survives `kill()` and a later `start()`, but not a power cut. `mark` is put into the
    server's environment, so that a later run finds a process that was left behind.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fast: bool = False,
        secrets: Path | None = None,
        log: Path | None = None,
        mark: str = "",
    ) -> None:
        self.folder = folder.absolute()
        self.fast = fast
        self._secrets = secrets or self.default_secrets
        self._log = log or self.folder.with_name(self.folder.name + ".log")
        self._mark = mark
        self._port = 0 if is_valid_socket_path(self.longest_socket_path) else free_port()

    @property
    @abstractmethod
    def default_secrets(self) -> Path:
        """The folder of the password, unless another one is given."""

    @property
    @abstractmethod
    def longest_socket_path(self) -> Path:
        """The longest path that the server uses for its Unix socket."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The server's address, with its password."""

    @cached_property
    @abstractmethod
    def child(self) -> Child:
        """The server's process; call `prepare` before it is spawned."""

    @abstractmethod
    def prepare(self) -> None:
        """Create what the server needs, and end one that a killed launcher left in the folder."""

    def start(self) -> None:
        """Prepare the folder, start the server and wait until it responds."""
        self.prepare()
        self.child.start()

    def stop(self) -> None:
        """Stop the server cleanly."""
        self.child.stop()

    def kill(self) -> None:
        """Kill the server without a clean shutdown."""
        self.child.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

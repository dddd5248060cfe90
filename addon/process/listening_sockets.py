"""Listening sockets of the workers (SO_REUSEPORT)."""

import contextlib
import resource
import socket
from collections.abc import Iterator

BACKLOG = 1024


def raise_file_limit() -> None:
    """Open as many files as the system allows, two for each client: a shell or a service allows 1024 by itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # where there is no highest number, there may be another rule
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind a socket that other workers may share; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.setblocking(False)
    return listener


def accept_pending(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield every connection in a socket's queue; what is left there when its last owner closes it is reset."""
    with contextlib.suppress(OSError):
        while True:
            yield listener.accept()[0]

"""Listening sockets of the workers (SO_REUSEPORT)."""

import contextlib
import resource
import socket
from collections.abc import Iterator

BACKLOG = 1024


def raise_file_limit() -> None:
    """Raise the limit of open files to the hard limit: each client needs two, and the default is often 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems reject an unlimited hard limit as the soft one
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind a socket to a port that other workers may share; port 0 takes a free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.setblocking(False)
    return listener


def accept_pending(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield every connection in a socket's queue: the kernel resets those left when the last owner closes it."""
    with contextlib.suppress(OSError):
        while True:
            yield listener.accept()[0]

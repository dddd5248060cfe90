"""Free loopback ports, and checks of addresses and socket paths."""

import os
import re
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
LONGEST_SOCKET_PATH = 100  # the kernel allows 107 bytes


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def bind_error(host: str, port: int) -> str:
    """Return why a port cannot be listened on; "" when it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except PermissionError:
            return "may only be used by root"
        except OSError as error:
            taken = error.errno is not None and "in use" in os.strerror(error.errno)
            return "is already taken" if taken else f"cannot be used at {host} ({error.strerror})"
    return ""


def is_valid_socket_path(path: Path) -> bool:
    """Return whether a socket file can have that path, and the path needs no quoting in a URL."""
    text = str(path)
    return len(text.encode()) <= LONGEST_SOCKET_PATH and bool(re.fullmatch(r"[A-Za-z0-9_./+-]+", text))

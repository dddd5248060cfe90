"""Loopback ports and socket files: what is free, what fits, and who listens."""

import os
import re
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
LISTENING = "0A"  # the kernel's number for that state in /proc/net/tcp
LONGEST_SOCKET_PATH = 100  # the kernel allows 107 bytes


def free_port() -> int:
    """Return a loopback port that nothing uses now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def why_not_bindable(host: str, port: int) -> str:
    """Say why a port cannot be listened on; "" when it can."""
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


def fits_a_socket(path: Path) -> bool:
    """Tell whether a socket file can be at that path, and the path stand in an address without being quoted."""
    text = str(path)
    return len(text.encode()) <= LONGEST_SOCKET_PATH and bool(re.fullmatch(r"[A-Za-z0-9_./+-]+", text))


def listens(pid: int, port: int) -> bool:
    """Tell whether that very process listens on the port: several workers may share one."""
    inodes = _listening_inodes(port)
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            if os.readlink(descriptor) in inodes:
                return True
        except OSError:
            continue
    return False


def _listening_inodes(port: int) -> set[str]:
    """Return the sockets that listen on the port, written as the kernel shows them among open files."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found

"""Inherited listening sockets and the control socket between a worker and its supervisor.

The supervisor (`addon.supervisor`) passes both as file descriptors, named in the environment. A worker that was started
by hand has neither.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence

LISTENER_FDS = "ZENZEFI_LISTENER_FDS"
CONTROL_FD = "ZENZEFI_LINE_FD"
READY = b"1"


def inherited_listeners(environ: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the sockets to accept from, this worker's own first; none when no supervisor gave any."""
    return [socket.socket(fileno=int(number)) for number in environ.get(LISTENER_FDS, "").split()]


def child_environment(listeners: Sequence[socket.socket], control: socket.socket) -> dict[str, str]:
    """Return the environment variables that name a worker's file descriptors."""
    return {LISTENER_FDS: " ".join(str(listener.fileno()) for listener in listeners), CONTROL_FD: str(control.fileno())}


class ControlSocket:
    """The worker's end; the supervisor's end closes when the supervisor dies, however it dies."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        number = environ.get(CONTROL_FD, "")
        self._socket = socket.socket(fileno=int(number)) if number else None

    def report_ready(self) -> None:
        """Report that this worker is ready to serve."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the supervisor has died; `watch` handles it
                self._socket.send(READY)

    def watch(self, on_exit: Callable[[], object], seconds: float) -> None:
        """Call `on_exit`, in a thread, when the supervisor has died; end the process if it still runs `seconds` later.

        The end does not rely on the event loop: a worker whose loop hangs must not outlive its supervisor.
        """
        if self._socket is not None:
            arguments = (self._socket, on_exit, seconds)
            threading.Thread(target=self._wait, args=arguments, name="control-socket", daemon=True).start()

    @staticmethod
    def _wait(control: socket.socket, on_exit: Callable[[], object], seconds: float) -> None:
        with contextlib.suppress(OSError):
            while control.recv(1):
                pass
        on_exit()
        time.sleep(seconds)
        os._exit(1)

"""The portal's gunicorn worker: it leaves nobody in the queue of the listening socket when it stops."""

from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class DrainingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's threads, with another end.

    A worker that stops still holds the listening socket until its last request is over, and accepts nothing from it:
    the kernel goes on completing connections, and resets them at the end. This one takes what waits and closes the
    socket first, so that whoever comes later is refused at once, and the proxy in front asks another machine.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept, or not; for the last time, with everything that waits."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            self._take_all(listener)
            listener.close()

    def _take_all(self, listener: Any) -> None:
        taken = -1
        while taken < self.nr_conns:
            taken = self.nr_conns
            self.accept(listener)  # takes one, or none

"""The worker process: `python -m jobs.worker`."""

import ctypes
import logging
import os
import signal
from typing import Any

from rq import Worker

from jobs import clocks, mail, payments, queues, upkeep

# Imported before the first job: each job runs in a fork of this process and finds its code already loaded.
PRELOADED = (clocks, mail, payments, upkeep)


PR_SET_PDEATHSIG = 1


class DependentWorker(Worker):
    """A worker whose forked job dies with it: a job that nobody supervises would hold its locks for nobody."""

    def main_work_horse(self, *args: Any, **kwargs: Any) -> None:
        """Run one job in the forked process."""
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        super().main_work_horse(*args, **kwargs)


def main() -> None:
    """Run jobs, each in a process of its own, until stopped; a job under way is finished first."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("rq").setLevel(logging.WARNING)
    queue = queues.queue()
    DependentWorker([queue], connection=queue.connection, name=f"zenzefi-{os.uname().nodename}-{os.getpid()}").work()


if __name__ == "__main__":
    main()

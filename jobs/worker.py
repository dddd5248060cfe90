"""The worker process: `python -m jobs.worker`."""

import logging
import os

from rq import Worker

from jobs import mail, payments, queues, upkeep

# Imported before the first job: each job runs in a fork of this process and finds its code already loaded.
PRELOADED = (mail, payments, upkeep)


def main() -> None:
    """Run jobs, each in a process of its own, until stopped; a job under way is finished first."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("rq").setLevel(logging.WARNING)
    queue = queues.queue()
    Worker([queue], connection=queue.connection, name=f"zenzefi-{os.uname().nodename}-{os.getpid()}").work()


if __name__ == "__main__":
    main()

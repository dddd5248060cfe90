"""Component status for the admin dashboard; a component that hangs does not block the page."""

import logging
from dataclasses import dataclass
from functools import cache

from redis import Redis
from redis.exceptions import RedisError

from jobs import queues
from jobs.queues import QueueDown
from models import clock
from models.services.gateway import workers as gateway_workers
from models.services.gateway.workers import WorkerTotals
from models.services.monitoring import health_report
from models.services.monitoring.health_report import Report
from portal.request import context

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """Status of the components; all None while Redis is down. `report` is that of the scheduled checks."""

    report: Report | None = None
    worker_totals: WorkerTotals | None = None
    work: queues.QueueStatus | None = None

    @property
    def stopped(self) -> list[str]:
        """The components that are not running, by their keys in `labels.STOPPED`."""
        if self.work is None or self.worker_totals is None:
            return ["redis"]
        runs = {
            "proxy": self.worker_totals.workers > 0,
            "jobs": bool(self.work.workers),
            "scheduler": self.work.is_scheduler_alive,
        }
        return [part for part, is_alive in runs.items() if not is_alive]


def redis() -> Redis:
    """Return this process's Redis client, with short timeouts."""
    return _connected(context.frozen_settings().redis.url)


@cache
def _connected(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=1, socket_timeout=2)


def collect_components() -> ComponentStatus:
    """Read what jobs and workers have stored in Redis."""
    try:
        connection = redis()
        with connection.pipeline(transaction=False) as pipeline:
            pipeline.get(health_report.REPORT_KEY)
            pipeline.hgetall(gateway_workers.GAUGES)
            pipeline.hgetall(gateway_workers.TOTALS)
            report, gauges, totals = pipeline.execute()
        found = gateway_workers.read_totals(gauges, totals, clock.now().timestamp())
        return ComponentStatus(health_report.from_json(report), found, queues.queue_status(connection))
    except (RedisError, QueueDown) as error:
        logger.warning("cannot read the component status: %s", type(error).__name__)
        return ComponentStatus()

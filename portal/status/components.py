"""How each part of the platform is, for the office's first page; a part that hangs must not take the page along."""

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
    """What was found; all None while Redis does not answer. `report` is that of the scheduled look."""

    report: Report | None = None
    worker_totals: WorkerTotals | None = None
    work: queues.QueueStatus | None = None

    @property
    def stopped(self) -> list[str]:
        """The parts that do not run, by the names that `labels.STOPPED` has words for."""
        if self.work is None or self.worker_totals is None:
            return ["redis"]
        runs = {
            "proxy": self.worker_totals.workers > 0,
            "jobs": bool(self.work.workers),
            "scheduler": self.work.scheduler_lives,
        }
        return [part for part, is_alive in runs.items() if not is_alive]


def redis() -> Redis:
    """Return this process's way to Redis, which gives up soon."""
    return _connected(context.frozen_settings().redis.url)


@cache
def _connected(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=1, socket_timeout=2)


def collect_components() -> ComponentStatus:
    """Ask Redis for what jobs and workers left there."""
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
        logger.warning("the parts cannot be asked: %s", type(error).__name__)
        return ComponentStatus()

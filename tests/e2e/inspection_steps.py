"""A real Prometheus with the configuration of ops/, which scrapes the platform during all tests."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

import pytest
import yaml

from models.metrics.catalogue import Kind, Metric
from tests.e2e.conftest import ROOT, Shop, free_port, wait_until_listening

COMMITTED = ROOT / "ops" / "monitoring" / "prometheus" / "prometheus.yml"


@dataclass(frozen=True)
class Watch:
    """Prometheus at an address."""

    url: str

    def ask(self, path: str, **what: Any) -> Any:
        """Return the data of an API response; an error fails the test."""
        address = f"{self.url}/api/v1/{path}?{urlencode(what)}"
        with urlopen(address, timeout=30) as answer:  # noqa: S310 - our own process
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def values(self, query: str) -> list[float]:
        """Return the result of a query."""
        return [float(each["value"][1]) for each in self.ask("query", query=query)["result"]]

    def has_moved(self, metric: Metric, job: str) -> bool:
        """Return whether a metric was ever above zero."""
        name = f"{metric.shown}_count" if metric.kind is Kind.HISTOGRAM else metric.shown
        return any(value != 0 for value in self.values(f'max_over_time(abs({name}{{job="{job}"}})[1h:1s])'))


@contextmanager
def watching(shop: Shop, folder: Path) -> Iterator[Watch]:
    """Run Prometheus with the configuration of ops/, other targets and a shorter interval."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.fail("Prometheus is needed for the end-to-end tests: apt-get install prometheus")
    settings = yaml.safe_load(COMMITTED.read_text())
    settings["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
    settings["rule_files"] = [str(COMMITTED.parent / pattern) for pattern in settings["rule_files"]]
    del settings["alerting"]
    targets = {"gateway": shop.proxy, "portal": shop.portal}
    settings["scrape_configs"] = [job for job in settings["scrape_configs"] if job["job_name"] in targets]
    for job in settings["scrape_configs"]:
        job["static_configs"] = [{"targets": [urlsplit(targets[job["job_name"]]).netloc]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    port = free_port()
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with subprocess.Popen(command, cwd=folder) as process:
        try:
            wait_until_listening(port, 30)
            yield Watch(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def until_nothing(left: Any, seconds: float = 45) -> None:
    """Poll until nothing is missing; fail with what is still missing."""
    deadline = time.monotonic() + seconds
    while found := left():
        assert time.monotonic() < deadline, f"after {seconds} s: {found}"
        time.sleep(0.5)

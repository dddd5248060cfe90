"""Prometheus and Alertmanager configuration: validity, a test and a runbook for each alert, existing metrics."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.schedule import SCHEDULE
from models.metrics.catalogue import METRICS, Kind

ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS = ROOT / "ops" / "monitoring" / "prometheus"
# Prometheus' own.
BUILT_IN = {"up", "ALERTS"}
ON_DEMAND = {"jobs.payments.settle", "jobs.payments.ask", "jobs.payments.send_refund"}


def run(program: str, *arguments: str) -> str:
    """Run one of Prometheus' programs; an error that it reports fails the test."""
    if shutil.which(program) is None:
        pytest.fail(f"{program} is needed: apt-get install prometheus prometheus-alertmanager")
    done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Return the rules of a kind by name."""
    groups = [
        group for path in sorted(PROMETHEUS.glob("rules/*.yml")) for group in yaml.safe_load(path.read_text())["groups"]
    ]
    return {rule[kind]: rule for group in groups for rule in group["rules"] if kind in rule}


def names_in(expression: str) -> set[str]:
    """Return the metrics of an expression."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on) \([^)]*\)', " ", expression)
    found = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\()\b", bare)
    return {name for name in found if "_" in name or ":" in name or name in BUILT_IN} - _FUNCTIONS


_FUNCTIONS = {"histogram_quantile", "quantile_over_time", "topk"}


def declared() -> set[str]:
    """Return the names of all metrics and of all recording rules."""
    endings = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count"), Kind.COUNTER: ("_total",), Kind.GAUGE: ("",)}
    ours = {metric.name + end for side in METRICS.values() for metric in side for end in endings[metric.kind]}
    return ours | set(rules("record")) | BUILT_IN


def test_prometheus_accepts_the_configuration_and_the_rule_tests_pass() -> None:
    run("promtool", "check", "config", str(PROMETHEUS / "prometheus.yml"))
    tests = sorted(map(str, PROMETHEUS.glob("tests/*.test.yml")))
    assert run("promtool", "test", "rules", *tests).count("SUCCESS") == len(tests) == 2


def test_alertmanager_accepts_the_example() -> None:
    run("amtool", "check-config", "ops/monitoring/alertmanager/alertmanager.yml")
    named = set(
        re.findall(r"[A-Z][a-z]+(?:[A-Z][a-z]+)+", (ROOT / "ops/monitoring/alertmanager/alertmanager.yml").read_text())
    )
    assert named - set(rules("alert")) == set()


def test_every_alert_has_a_test_of_its_own_name_and_a_runbook() -> None:
    alerts = rules("alert")
    tested = {
        test["name"]
        for path in PROMETHEUS.glob("tests/*.test.yml")
        for test in yaml.safe_load(path.read_text())["tests"]
    }
    assert set(alerts) - tested == set()
    document = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n\n(.*?)(?=\n##|\Z)", document, re.DOTALL | re.MULTILINE))
    assert list(sections) == list(alerts)
    for name, alert in alerts.items():
        notes, section = alert["annotations"], sections[name]
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert notes["runbook"] == f"docs/alerts.md#{name.lower()}"
        assert notes["summary"]
        assert notes["action"] in section
        assert section.startswith(f"**{alert['labels']['severity'].capitalize()}**")
        assert f"after {alert['for']}:" in section if "for" in alert else "after" not in section.partition(":")[0]


def test_rules_query_only_metrics_that_exist() -> None:
    known = declared()
    unknown = {
        name: names_in(rule["expr"]) - known
        for kind in ("record", "alert")
        for name, rule in rules(kind).items()
        if names_in(rule["expr"]) - known
    }
    assert unknown == {}


def test_the_alert_for_failing_jobs_covers_all_frequent_jobs() -> None:
    patterns = re.findall(r'task=~?"([^"]+)"', rules("alert")["JobNotSucceeding"]["expr"])
    names = {task.job for task in SCHEDULE} | ON_DEMAND
    watched = {name for name in names if any(re.fullmatch(pattern, name) for pattern in patterns)}
    assert watched == {task.job for task in SCHEDULE if task.every is not None and task.every <= 600}


def test_the_document_has_every_metric_as_it_is_declared() -> None:
    document = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (\w+) \| (.*) \|$", document, re.MULTILINE)
    assert rows == [
        (each.shown, each.kind, ", ".join(f"`{label}`" for label in each.labels) or "-", each.scope, each.text)
        for side in METRICS.values()
        for each in side
    ]


def test_the_readme_names_every_package_that_the_tests_need() -> None:
    wanted = re.search(r'^wanted="(.*?)"', (ROOT / ".ci" / "packages").read_text(), re.DOTALL | re.MULTILINE)
    line = re.search(r"`apt-get install (chromium .*?)`", (ROOT / "README.md").read_text())
    assert wanted
    assert line
    # `up` and `test` bring these themselves where they are missing.
    ours = {"postgresql", "redis-server"}
    assert {pair.partition(":")[0] for pair in wanted[1].split()} - ours == set(line[1].split())

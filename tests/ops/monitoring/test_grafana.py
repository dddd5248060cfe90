"""The committed dashboards are what their tables make, and lead to alerts that exist and metrics that are there."""

import json

import yaml

from ops.monitoring.grafana.__main__ import BOARDS, FOLDER, files
from tests.ops.monitoring.test_rules import ROOT, declared, names_in, rules

BOARD_FILES = sorted(FOLDER.glob("*.json"))


def test_the_committed_dashboards_are_what_the_script_makes() -> None:
    made = files()
    assert {path: path.read_text(encoding="utf-8") for path in BOARD_FILES} == made, (
        "run python -m ops.monitoring.grafana"
    )
    assert len(made) == len(BOARDS) == 3


def test_panels_ask_for_what_there_is_and_link_to_alerts_that_exist() -> None:
    known, alerts = declared(), set(rules("alert"))
    linked = set()
    for path in BOARD_FILES:
        board = json.loads(path.read_text())
        variables = {each["name"] for each in board["templating"]["list"]}
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(set(numbers)) == len(numbers)
        for panel in board["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            linked |= {link["title"] for link in panel.get("links", ())}
            for target in panel.get("targets", ()):
                assert names_in(target["expr"]) - known == set(), panel["title"]
        text = path.read_text()
        assert {name for name in ("task", "hours", "code") if f"${name}" in text} <= variables
    assert linked - alerts == set()
    # Whoever is woken up finds a panel.
    critical = {name for name, alert in rules("alert").items() if alert["labels"]["severity"] == "critical"}
    assert critical - linked == {"GatewayDown", "PortalDown"}


def test_grafana_is_told_where_dashboards_and_prometheus_are() -> None:
    folder = ROOT / "ops" / "monitoring" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "zenzefi.yml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert source["url"] == "http://prometheus:9090"
    assert f"./ops/monitoring/grafana/dashboards:{provider['options']['path']}:ro" in compose["grafana"]["volumes"]
    assert "./ops/monitoring/grafana/provisioning:/etc/grafana/provisioning:ro" in compose["grafana"]["volumes"]
    assert "./ops/monitoring/prometheus:/etc/prometheus:ro" in compose["prometheus"]["volumes"]
    jobs = yaml.safe_load((ROOT / "ops" / "monitoring" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    hosts = {target.partition(":")[0] for job in jobs for each in job["static_configs"] for target in each["targets"]}
    assert hosts - {"localhost"} <= set(compose)

"""The Grafana dashboards query metrics that exist, and link to alerts that exist."""

import json

import yaml

from tests.ops.monitoring.test_rules import ROOT, declared, names_in, rules

BOARD_FILES = sorted((ROOT / "ops/monitoring/grafana/dashboards").glob("*.json"))


def test_panels_query_metrics_that_exist_and_link_to_alerts_that_exist() -> None:
    known, alerts = declared(), set(rules("alert"))
    assert {path.stem for path in BOARD_FILES} == {"business", "gateway", "health"}
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
    # Every critical alert has a panel.
    critical = {name for name, alert in rules("alert").items() if alert["labels"]["severity"] == "critical"}
    assert critical - linked == {"GatewayDown", "PortalDown"}


def test_grafana_is_provisioned_with_dashboards_and_prometheus() -> None:
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

"""The compose files are valid and hardened, and the platform starts with their settings."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.config import settings as config
from ops.bootstrap import REPOSITORY
from ops.dev import nginx_edge
from tests.ops.deploy.documents import document, follows_schema

COMPOSE = document("docker-compose.yml")
DEVELOPMENT = document("docker-compose.dev.yml")
TAILSCALE = document("docker-compose.tailscale.yml")
OURS = ("portal-a", "portal-b", "proxy-a", "proxy-b", "worker", "scheduler", "migrate", "inspect")
NAMES = {
    "PORTAL_HOST": "portal.example.com",
    "PROXY_HOST": "proxy.example.com",
    "UPSTREAM_URL": "https://upstream.example.com",
    "ADMIN_EMAIL": "admin@example.com",
}


def services(*files: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the services that a file defines, without those that it only changes."""
    for file in files:
        yield from ((name, each) for name, each in file["services"].items() if "image" in each)


def seconds(text: str) -> int:
    amount, unit = re.fullmatch(r"(\d+)([sm])", text).groups()  # type: ignore[union-attr]
    return int(amount) * {"s": 1, "m": 60}[unit]


def test_the_files_follow_the_compose_specification() -> None:
    follows_schema("compose-spec", "docker-compose.yml", "docker-compose.dev.yml", "docker-compose.tailscale.yml")


def test_the_development_file_is_not_loaded_by_default() -> None:
    assert not list(REPOSITORY.glob("*compose.override*"))
    assert DEVELOPMENT["name"] != COMPOSE["name"]


def test_every_service_has_limits_hardening_and_a_health_check() -> None:
    for name, service in services(COMPOSE, TAILSCALE):
        image = service["image"]
        assert re.search(r":(v?\d+(\.\d+)+[\w.-]*|\$\{ZENZEFI_VERSION:\?[^}]+\})$", image), f"{name}: {image}"
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["logging"]["options"]["max-size"], name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert service["pids_limit"], name
        assert service["restart"] in {"unless-stopped", "no"}, name
        assert "healthcheck" in service or name in OURS or name == "certbot", name
        assert not service.get("privileged"), name


def test_every_part_uses_the_image_that_the_docs_build() -> None:
    [built] = re.findall(r"^docker compose build (\S+)", (REPOSITORY / "docs/DEPLOYMENT.md").read_text(), re.MULTILINE)
    found = dict(services(COMPOSE))
    assert found[built]["build"] == "."
    assert {found[name]["image"] for name in OURS} == {found[built]["image"]}


def test_only_the_edge_publishes_ports() -> None:
    published = {name: service["ports"] for name, service in services(COMPOSE) if "ports" in service}
    assert published.pop("nginx") == ["80:8080", "443:8443"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert not any("ports" in service for _, service in services(TAILSCALE))
    assert TAILSCALE["services"]["nginx"] == {"profiles": ["internet"]}


def test_postgresql_and_redis_cannot_be_reached_from_the_edge_or_outside() -> None:
    networks = {name: set(service.get("networks", ())) for name, service in services(COMPOSE)}
    assert networks["postgres"] == networks["redis"] == {"data"}
    assert networks["nginx"] == {"public", "edge"}
    assert networks["scheduler"] == {"data"}
    for name in ("data", "edge", "ops"):
        assert COMPOSE["networks"][name]["internal"], name
    for name in ("certbot", "prometheus", "grafana", "alertmanager"):
        assert "data" not in networks[name]


def test_every_part_waits_for_its_dependencies_to_be_healthy() -> None:
    for name in ("portal-a", "portal-b", "proxy-a", "proxy-b", "worker", "scheduler"):
        needs = COMPOSE["services"][name]["depends_on"]
        assert needs["migrate"] == {"condition": "service_completed_successfully"}
        assert needs["postgres"] == needs["redis"] == {"condition": "service_healthy"}


def test_every_mounted_file_and_secret_exists(tmp_path: Path) -> None:
    made = initialise(tmp_path)
    for name, service in services(COMPOSE, TAILSCALE):
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("./ops/") and not re.match(r"\./ops/(prometheus|grafana|alertmanager)\b", source):
                assert (REPOSITORY / source).exists(), f"{name}: {source}"
            if not source.startswith("."):
                assert source in COMPOSE["volumes"] | TAILSCALE["volumes"], f"{name}: {source}"
    for secret in COMPOSE["secrets"].values():
        assert (made / secret["file"]).is_file(), secret


def test_only_the_migration_gets_the_password_of_the_first_admin() -> None:
    given = {name for name, service in services(COMPOSE) if "admin_password" in service.get("secrets", ())}
    named = {name for name, service in services(COMPOSE) if "admin_password" in str(service.get("environment", ""))}
    assert (given, named) == ({"migrate"}, {"migrate"})


def test_nginx_uses_the_addresses_that_compose_assigns() -> None:
    template = (nginx_edge.FILES / "templates/10-upstreams.conf.template").read_text()
    for part, port in (("portal", 8000), ("proxy", 8080)):
        block = template.partition(f"upstream {part} {{")[2].partition("}")[0]
        told = re.findall(r"server ([\d.:]+) ", block)
        there = [COMPOSE["services"][f"{part}-{twin}"]["networks"]["edge"]["ipv4_address"] for twin in "ab"]
        assert told == [f"{address}:{port}" for address in there]


def test_only_the_edge_is_a_trusted_proxy(tmp_path: Path) -> None:
    settings = load(initialise(tmp_path))
    edges = [COMPOSE["services"]["nginx"], TAILSCALE["services"]["tailscale-portal"]]
    edges.append(TAILSCALE["services"]["tailscale-proxy"])
    addresses = {each["networks"]["edge"]["ipv4_address"] for each in edges}
    assert {str(network) for network in settings.proxy.trusted_proxies} == {f"{each}/32" for each in addresses}
    ops = COMPOSE["networks"]["ops"]["ipam"]["config"][0]["subnet"]
    assert ops in {str(network) for network in settings.proxy.ops_networks}


def test_the_platform_starts_in_production_with_the_settings_of_compose(tmp_path: Path) -> None:
    settings = load(initialise(tmp_path))
    assert settings.platform.is_production
    assert settings.payments.providers == ()
    assert settings.portal.address == "https://portal.example.com"
    password = (tmp_path / "secrets/postgres_password").read_text().strip()
    assert settings.database.url == f"postgresql+psycopg2://zenzefi:{password}@postgres:5432/zenzefi"


def test_every_part_has_enough_time_to_stop(tmp_path: Path) -> None:
    settings, parts = load(initialise(tmp_path)), COMPOSE["services"]
    assert seconds(parts["proxy-a"]["stop_grace_period"]) > settings.proxy.drain_seconds + 15
    assert seconds(parts["portal-a"]["stop_grace_period"]) > 20  # gunicorn's graceful_timeout
    kept = re.search(
        r"keepalive_timeout (\d+)s", (nginx_edge.FILES / "templates/10-upstreams.conf.template").read_text()
    )
    assert kept is not None
    assert int(kept[1]) < settings.proxy.drain_idle_seconds < settings.proxy.drain_seconds
    assert int(kept[1]) < settings.proxy.keep_alive_seconds


def test_the_development_file_has_only_differences_and_starts(tmp_path: Path) -> None:
    unknown = set(DEVELOPMENT["services"]) - set(COMPOSE["services"])
    assert unknown == {"upstream"}
    subprocess.run(
        ["ops/deploy/init.sh", "--dev"], cwd=REPOSITORY, check=True, env={"PATH": PATH, "ZENZEFI_HOME": str(tmp_path)}
    )
    names = dict(line.split("=", 1) for line in (REPOSITORY / "ops/deploy/dev.env").read_text().split() if "=" in line)
    own = DEVELOPMENT["services"]["portal-a"]["environment"]
    settings = load(tmp_path, {**NAMES, **names}, own)
    assert settings.payments.providers == ("mock",)
    assert not settings.platform.is_production


PATH = "/usr/local/bin:/usr/bin:/bin"


def initialise(folder: Path) -> Path:
    """Run init.sh in a folder."""
    (folder / "pyproject.toml").write_text((REPOSITORY / "pyproject.toml").read_text())
    subprocess.run(
        ["ops/deploy/init.sh"],
        cwd=REPOSITORY,
        check=True,
        env={"PATH": PATH, "ZENZEFI_HOME": str(folder), **NAMES},
        stdout=subprocess.DEVNULL,
    )
    return folder


def load(made: Path, names: dict[str, str] | None = None, more: dict[str, str] | None = None) -> config.Settings:
    """Load the settings of a part, with the secret files of init.sh."""
    given = {**COMPOSE["services"]["portal-a"]["environment"], **(more or {})}

    def value(text: str) -> str:
        text = re.sub(r"\$\{(\w+)[^}]*\}", lambda match: (names or NAMES).get(match[1], "1"), text)
        return text.replace("/run/secrets", str(made / "secrets"))

    return config.load_settings({name: value(text) for name, text in given.items()})


@pytest.mark.parametrize("part", ["portal-a", "proxy-a", "worker", "scheduler", "migrate"])
def test_every_part_gets_the_secrets_that_its_settings_name(part: str) -> None:
    service = COMPOSE["services"][part]
    named = {text.rpartition("/")[2] for name, text in service["environment"].items() if name.endswith("_FILE")}
    assert named == set(service["secrets"])

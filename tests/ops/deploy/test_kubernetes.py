"""The Kubernetes manifests, built as Kustomize does: schemas, hardening, limits, network policies."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from models.config import settings as config
from models.config.operations import Mail
from models.services.webhooks import url_policy
from ops.bootstrap import REPOSITORY
from ops.doctor import mail_server
from tests.ops.deploy.documents import document, documents

FOLDER = Path("ops/deploy/kubernetes")
APPLICATION, MIGRATION = FOLDER / "overlays/example", FOLDER / "overlays/example/migrate"
VERSION = "1.34"
# Not of Kubernetes itself: these follow the Gateway API's own schema, which no package brings along.
FOREIGN = {"Gateway", "HTTPRoute"}
Manifest = dict[str, Any]
KNOWN = {"apiVersion", "kind", "resources", "components", "patches", "labels", "images", "namespace"}
KNOWN |= {"configMapGenerator"}


def built(folder: Path) -> list[Manifest]:
    """Return what `kubectl apply -k` would apply: resources, then components, patches, images, settings.

    It knows what our files use, and fails at anything else.
    """
    made: list[Manifest] = []
    _build(folder, made)
    return made


def _build(folder: Path, made: list[Manifest]) -> None:
    told = document(folder / "kustomization.yaml")
    unknown = set(told) - KNOWN
    assert not unknown, f"{folder}: {unknown}"
    for resource in told.get("resources", ()):
        path = folder / resource
        if (REPOSITORY / path).is_dir():
            _build(Path(str(path)), made)
        else:
            made.extend(documents(path))
    for generator in told.get("configMapGenerator", ()):
        _generate(generator, folder, made)
    for component in told.get("components", ()):
        _build(folder / component, made)
    for patch in told.get("patches", ()):
        _patch(document(folder / patch["path"]), patch.get("target"), made)
    for image in told.get("images", ()):
        for container in (each for manifest in made for each in containers(manifest)):
            if container["image"] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    for label in told.get("labels", ()):
        for manifest in made:
            for owner in (manifest, manifest["spec"]["template"]) if pod(manifest) else (manifest,):
                owner["metadata"].setdefault("labels", {}).update(label["pairs"])
    for manifest in made:
        if "namespace" in told and manifest["kind"] != "Namespace":
            manifest["metadata"]["namespace"] = told["namespace"]


def _generate(generator: Manifest, folder: Path, made: list[Manifest]) -> None:
    lines = [*generator.get("literals", ())]
    for file in generator.get("envs", ()):
        lines += (REPOSITORY / folder / file).read_text().split("\n")
    data = dict(line.split("=", 1) for line in lines if line)
    if generator.get("behavior") == "merge":
        [target] = [each for each in made if each["kind"] == "ConfigMap"]
        target["data"].update(data)
    else:
        metadata = {"name": generator["name"]}
        made.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _patch(patch: Manifest, target: Manifest | None, made: list[Manifest]) -> None:
    wanted = target or {"kind": patch["kind"], "name": patch["metadata"]["name"]}
    met = 0
    for manifest in made:
        if manifest["kind"] == wanted["kind"] and wanted.get("name") in {None, manifest["metadata"]["name"]}:
            _merge(manifest, {key: value for key, value in patch.items() if key != "metadata"})
            met += 1
    assert met or target, f"{wanted} is not there to be patched"


KEYS = {"containers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath"}


def _merge(into: Manifest, patch: Manifest) -> None:
    """Merge like a strategic merge patch, for the lists that the patches change."""
    for name, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif name in KEYS and name in into:
            by_key = {each[KEYS[name]]: each for each in into[name]}
            for each in value:
                if each[KEYS[name]] in by_key:
                    _merge(by_key[each[KEYS[name]]], each)
                else:
                    into[name].append(each)
        else:
            into[name] = value


def pod(manifest: Manifest) -> Manifest:
    return manifest.get("spec", {}).get("template", {}).get("spec") or {}  # type: ignore[no-any-return]


def containers(manifest: Manifest) -> Iterator[Manifest]:
    yield from pod(manifest).get("containers", ())


@pytest.fixture(scope="module")
def application() -> list[Manifest]:
    return built(APPLICATION)


@pytest.fixture(scope="module")
def everything(application: list[Manifest]) -> list[Manifest]:
    return application + built(MIGRATION)


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    [found] = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def test_every_manifest_follows_its_schema(everything: list[Manifest]) -> None:
    for manifest in everything:
        if manifest["kind"] not in FOREIGN:
            kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_every_manifest_is_used() -> None:
    used = set()
    for file in (REPOSITORY / FOLDER).rglob("kustomization.yaml"):
        told = document(file)
        for name in [*told.get("resources", ()), *(patch["path"] for patch in told.get("patches", ()))]:
            used.add((file.parent / name).resolve())
    files = {each.resolve() for each in (REPOSITORY / FOLDER).rglob("*.yaml") if each.name != "kustomization.yaml"}
    assert {file.name for file in files - used} == {"prometheus-adapter.yaml"}  # values for a Helm chart


def test_every_pod_is_restricted_and_has_limits(everything: list[Manifest]) -> None:
    seen = 0
    for manifest in filter(pod, everything):
        spec, [container] = pod(manifest), list(containers(manifest))
        seen += 1
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert re.search(r":\d+\.\d+\.\d+$", container["image"])
        mounted, there = (
            {each["name"] for each in container["volumeMounts"]},
            {each["name"] for each in spec["volumes"]},
        )
        assert mounted == there
    assert seen == 5


def test_jobs_are_hardened_as_deployments_are() -> None:
    deployment, job = (document(FOLDER / f"hardened/{kind}.yaml") for kind in ("deployment", "job"))
    assert deployment["spec"] == job["spec"]


def test_services_budgets_and_autoscalers_select_existing_pods(application: list[Manifest]) -> None:
    pods = {
        manifest["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]: manifest
        for manifest in application
        if manifest["kind"] == "Deployment"
    }
    for manifest in application:
        spec = manifest.get("spec", {})
        match manifest["kind"]:
            case "Deployment" | "PodDisruptionBudget":
                assert spec["selector"]["matchLabels"]["app.kubernetes.io/name"] in pods
            case "Service":
                [container] = containers(pods[spec["selector"]["app.kubernetes.io/name"]])
                assert spec["ports"][0]["targetPort"] in {port["name"] for port in container["ports"]}
            case "HorizontalPodAutoscaler":
                assert spec["scaleTargetRef"]["name"] in pods
                assert "replicas" not in pods[spec["scaleTargetRef"]["name"]]["spec"]
                assert spec["minReplicas"] >= 2
            case "HTTPRoute":
                [rule] = spec["rules"]
                named(application, "Service", rule["backendRefs"][0]["name"])


def test_a_rolling_update_drains_before_it_stops_a_pod(application: list[Manifest]) -> None:
    settings = named(application, "ConfigMap", "settings")["data"]
    for name, own in (("portal", 20), ("proxy", int(settings["ZENZEFI_PROXY__DRAIN_SECONDS"]) + 15)):
        manifest = named(application, "Deployment", name)
        [container] = containers(manifest)
        slept = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod(manifest)["terminationGracePeriodSeconds"] > slept + own
        assert manifest["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert slept >= 2 * container["readinessProbe"]["periodSeconds"]
    ready = named(application, "Deployment", "proxy")["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    assert ready["httpGet"]["path"] == "/_zenzefi/ready"  # 503 from the moment a drain begins
    assert named(application, "Deployment", "scheduler")["spec"]["strategy"] == {"type": "Recreate"}


def test_only_named_connections_are_allowed(application: list[Manifest]) -> None:
    policies = [manifest["spec"] for manifest in application if manifest["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
    stores = named(application, "NetworkPolicy", "to-stores")["spec"]["egress"]
    assert [port["port"] for port in stores[0]["ports"]] == [5432, 6379]
    assert stores[0]["to"] == [{"ipBlock": {"cidr": "10.20.0.0/24"}}]
    world = named(application, "NetworkPolicy", "to-world")["spec"]
    assert world["podSelector"]["matchExpressions"][0]["values"] == ["portal", "proxy", "worker"]


def test_addresses_of_webhooks_and_settings_can_be_reached(application: list[Manifest]) -> None:
    [world] = named(application, "NetworkPolicy", "to-world")["spec"]["egress"]
    [hooks] = named(application, "NetworkPolicy", "to-webhooks")["spec"]["egress"]
    assert world["to"] == hooks["to"]
    ports = {port["port"] for port in world["ports"]}
    assert ports >= {*url_policy.WEB_PORTS, Mail().smtp_port, mail_server.IMPLICIT_TLS_PORT}
    assert hooks["ports"] == [{"protocol": "TCP", "port": url_policy.FIRST_FREE_PORT, "endPort": 65535}]


def test_secrets_are_referenced_and_never_included(everything: list[Manifest]) -> None:
    assert not [manifest for manifest in everything if manifest["kind"] == "Secret"]
    for manifest in filter(pod, everything):
        assert {"name": "secrets", "secret": {"secretName": "zenzefi", "defaultMode": 0o440}} in pod(manifest)[
            "volumes"
        ]


def test_the_platform_starts_with_these_settings(everything: list[Manifest], tmp_path: Path) -> None:
    maps = [manifest["data"] for manifest in everything if manifest["kind"] == "ConfigMap"]
    assert maps[0] == maps[1]  # the migration is told what the application is told
    for name in re.findall(r"/run/secrets/zenzefi/(\w+)", str(maps[0])):
        url = {"database_url": "postgresql://db/zenzefi", "redis_url": "redis://cache"}
        (tmp_path / name).write_text(url.get(name, "0" * 64))
    told = {key: value.replace("/run/secrets/zenzefi", str(tmp_path)) for key, value in maps[0].items()}
    settings = config.load_settings(told)
    assert settings.platform.is_production
    assert settings.proxy.address == "https://proxy.example.com"


def test_backups_have_a_volume_owned_by_their_user(application: list[Manifest]) -> None:
    folder = Path(named(application, "ConfigMap", "settings")["data"]["ZENZEFI_BACKUP__FOLDER"])
    [container] = containers(named(application, "Deployment", "worker"))
    mounted = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "backups"]
    # The root of a volume is root's, whatever fsGroup says, and a backup refuses a folder that others own.
    assert mounted == [str(folder.parent)]


def test_the_autoscaler_uses_a_metric_of_the_adapter(application: list[Manifest]) -> None:
    rules = document(FOLDER / "prometheus-adapter.yaml")["rules"]["external"]
    asked = named(application, "HorizontalPodAutoscaler", "proxy")["spec"]["metrics"]
    assert [each["external"]["metric"]["name"] for each in asked] == [rule["name"]["as"] for rule in rules]
    exposed = (REPOSITORY / "models/metrics/catalogue.py").read_text()
    for rule in rules:
        series = rule["seriesQuery"].partition("{")[0].removesuffix("_total")
        assert f'"{series}"' in exposed

"""The container's entry point: parts, commands and health checks."""

import ssl
import stat
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from redis import Redis

from ops.bootstrap import REPOSITORY
from ops.container import __main__, placeholder_certificate


def test_the_parts_are_those_that_the_launcher_starts() -> None:
    assert __main__.command_of(["proxy"]) == ["-P", "-m", "addon.supervisor"]
    assert __main__.command_of(["migrate"]) == ["-P", "-m", "ops.launcher.first_run"]
    assert __main__.command_of(["portal"])[:3] == ["-P", "-m", "gunicorn"]


def test_every_other_argument_is_a_command_of_the_platform() -> None:
    assert __main__.command_of(["backup", "--help"]) == [str(REPOSITORY / "zenzefi"), "backup", "--help"]


def test_the_part_is_read_from_the_first_process(tmp_path: Path) -> None:
    (tmp_path / "cmdline").write_bytes(b"/usr/bin/tini\0--\0python\0-m\0ops.container\0worker\0")
    assert __main__.part_of(tmp_path / "cmdline") == "worker"


def test_a_worker_is_healthy_while_both_of_its_queues_are_served(
    redis: Redis, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = environment["REDIS_URL"]
    monkeypatch.setattr(__main__.socket, "gethostname", lambda: "machine")
    for name in ("zenzefi-machine-7-aa", "zenzefi-machine-8-bb", "zenzefi-other-7-cc"):
        redis.sadd("rq:workers", f"rq:worker:{name}")
        redis.hset(f"rq:worker:{name}", "birth", "now")
    assert __main__._both_queues_have_a_worker(address)
    redis.delete("rq:worker:zenzefi-machine-8-bb")  # it died, and its key has run out
    assert not __main__._both_queues_have_a_worker(address)
    assert __main__._both_queues_have_a_worker("redis://127.0.0.1:1")  # nobody can tell


def test_the_placeholder_certificate_is_created_once_with_a_private_key(tmp_path: Path) -> None:
    placeholder_certificate.placeholder(tmp_path, ["a.example", "b.example"], owner=Path.home().stat().st_uid)
    chain, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(chain, key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    before = key.read_bytes()
    placeholder_certificate.placeholder(tmp_path, ["a.example"])
    assert key.read_bytes() == before


def test_an_ip_address_in_the_placeholder_certificate_can_be_verified(tmp_path: Path) -> None:
    """RFC 9110, 4.3.5: an address is matched against iPAddress entries only, never against dNSName."""
    owner = Path.home().stat().st_uid
    placeholder_certificate.placeholder(tmp_path, ["a.example", "127.0.0.1"], owner=owner)
    certificate = x509.load_pem_x509_certificate((tmp_path / "fullchain.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1")]

"""Certificate expiry is read from outside, wherever TLS ends."""

from pathlib import Path

import pytest
from redis import Redis

from jobs import certificates as job
from jobs import context
from models import clock
from models.services.gateway.workers import CERTIFICATES
from tests.jobs.conftest import Committed
from tests.ops.doctor.test_settings_certificates_network import answering, issue, written


def days_left(redis: Redis, name: str) -> float:
    end = redis.hget(CERTIFICATES, name)
    assert isinstance(end, bytes)
    return (float(end) - clock.now().timestamp()) / 86400


@pytest.mark.parametrize("days", [9, -2])
def test_the_expiry_of_each_public_certificate_is_stored_even_of_an_expired_one(
    shop: Committed, redis: Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, days: int
) -> None:
    certificate, key = issue("shop.test", days=days)
    with answering(200, b"{}", written(tmp_path / "edge.pem", key, certificate)) as address:
        monkeypatch.setenv("ZENZEFI_PORTAL__PUBLIC_URL", f"https://{address}")
        monkeypatch.setenv("ZENZEFI_PROXY__PUBLIC_URL", f"https://{address}")
        assert job.check() == 2
    for name in ("public_portal", "public_proxy"):
        assert days_left(redis, name) == pytest.approx(days, abs=0.01)
    # Nothing answers any more: the last known date stays, and the job succeeds.
    assert job.check() == 0
    assert days_left(redis, "public_portal") == pytest.approx(days, abs=0.01)
    # Without TLS there is no certificate to check.
    monkeypatch.setenv("ZENZEFI_PORTAL__PUBLIC_URL", "http://shop.test")
    context.settings_at_start.cache_clear()
    job.check()
    assert redis.hkeys(CERTIFICATES) == [b"public_proxy"]


def test_a_server_without_tls_is_ignored(shop: Committed, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, b"{}") as address:
        monkeypatch.setenv("ZENZEFI_PORTAL__PUBLIC_URL", f"https://{address}")
        assert job.check() == 0
    assert not redis.exists(CERTIFICATES)

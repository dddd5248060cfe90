"""A POST goes to the checked address under the requested host name, and to none of our own addresses."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.http_post import PostLimits, post
from models.config.settings import Settings
from models.services.errors import InvalidInput
from models.services.webhooks import url_policy
from models.services.webhooks.url_policy import Unreachable, is_public
from tests.certificates import issue
from tests.jobs import fake_webhook_receiver
from tests.jobs.fake_webhook_receiver import Receiver

OPEN = PostLimits(seconds=2, answer_bytes=100, allow_private=True)
STRICT = PostLimits(seconds=2, answer_bytes=100, allow_private=False)
NO_TLS = ssl.create_default_context()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for hook.example, with its key."""
    return issue(tmp_path_factory.mktemp("tls"), "hook", "hook.example")


@pytest.fixture
def secure(certificate: Path) -> Iterator[Receiver]:
    """A receiver with that certificate."""
    with fake_webhook_receiver.running(certificate) as receiver:
        yield receiver


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Resolve names to these addresses, one list per lookup; return the lookups."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host.replace(".", "").isdigit():
            return real(host, port, *more, **named)
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",  # noqa: S104
        "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "239.1.1.1",
        "240.0.0.1", "255.255.255.255", "192.0.2.1", "192.88.99.1", "168.63.129.16",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001::1", "2001:db8::1", "3fff::1", "100::1", "nonsense", "",
    ],
)  # fmt: skip
def test_an_address_of_no_public_network_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450::1"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"],
)
def test_no_way_of_writing_the_loopback_reaches_it(receiver: Receiver, host: str) -> None:
    with pytest.raises(Unreachable):
        post(f"http://{host}:{receiver.port}/", b"{}", {}, STRICT, NO_TLS)
    assert receiver.requests == []


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with fake_webhook_receiver.running() as receiver:
        yield receiver


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    with pytest.raises(Unreachable, match="host_private"):
        post(f"http://hook.example:{receiver.port}/", b"{}", {}, STRICT, NO_TLS)
    assert receiver.requests == []


def test_a_name_is_resolved_once_against_dns_rebinding(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_policy, "is_public", lambda address: address == "127.0.0.1")
    # The first result passes the check and is connected to; the second, which would not pass, is never requested.
    asked = resolving(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    answer = post(f"http://hook.example:{receiver.port}/x", b"{}", {}, STRICT, NO_TLS)
    assert (answer.status, asked) == (200, ["hook.example"])
    assert receiver.requests[0][0]["host"] == f"hook.example:{receiver.port}"


def test_tls_names_and_proves_the_host_although_an_address_is_connected_to(
    secure: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    resolving(monkeypatch, ["127.0.0.1"])
    answer = post(f"https://hook.example:{secure.port}/", b"{}", {}, OPEN, trusting)
    assert (answer.status, answer.start) == (200, b"fine")
    with pytest.raises(Unreachable, match="certificate_invalid"):
        post(f"https://other.example:{secure.port}/", b"{}", {}, OPEN, trusting)
    with pytest.raises(Unreachable, match="certificate_invalid"):
        post(f"https://hook.example:{secure.port}/", b"{}", {}, OPEN, NO_TLS)
    assert len(secure.requests) == 1


def test_a_host_without_address_or_server_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreachable, match="connection_refused"):
        post("http://127.0.0.1:1/", b"{}", {}, OPEN, NO_TLS)

    def nothing(*_arguments: Any, **_named: Any) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    with pytest.raises(Unreachable, match="host_unresolved"):
        post("http://nowhere.example/", b"{}", {}, OPEN, NO_TLS)


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "ftp://example.org/", "javascript:alert(1)", "https://", "https:///path", "https://example.org:x/",
        "https://user:password@example.org/", "https://user@example.org/", "https://example.org/#part",
        "https://example.org:25/", "https://example.org:22/", "https://127.0.0.1/", "https://[::1]/",
        "https://localhost/", "https://169.254.169.254/latest", "https://exämple.org/", "https://example.org/a b",
        "https://example.org/\r\nHost: x", "https://example.org/" + "a" * 500,
    ],
)  # fmt: skip
def test_a_forbidden_address_is_refused_with_a_message(settings: Settings, url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        url_policy.require_allowed(url, settings)
    assert (refused.value.field, refused.value.code.partition("_")[0]) == ("url", "webhook")


def test_plain_http_is_for_development_only(settings: Settings) -> None:
    assert url_policy.require_allowed(" http://example.org:8080/hook ", settings) == "http://example.org:8080/hook"
    production = settings.model_copy(
        update={"platform": settings.platform.model_copy(update={"environment": "production"})}
    )
    assert url_policy.require_allowed("https://example.org/hook", production) == "https://example.org/hook"
    with pytest.raises(InvalidInput):
        url_policy.require_allowed("http://example.org/hook", production)

"""The portal knows a client by one spelling of its address."""

import pytest

from portal.request.client_address import ClientAddress
from tests.portal.conftest import Browser


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_the_address_reaches_the_app_in_one_form(written: str, seen: str) -> None:
    found = []
    ClientAddress(lambda environ, _: found.append(environ["REMOTE_ADDR"]) or [])({"REMOTE_ADDR": written}, None)  # type: ignore[arg-type, func-returns-value]
    assert found == [seen]


@pytest.mark.parametrize(("address", "status"), [("::ffff:127.0.0.1", 200), ("::ffff:203.0.113.9", 403)])
def test_a_mapped_address_lies_in_the_networks_of_its_ipv4_address(
    anonymous: Browser, address: str, status: int
) -> None:
    assert anonymous.get("/metrics", environ_base={"REMOTE_ADDR": address}).status_code == status

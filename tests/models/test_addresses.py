"""Canonical form of IP addresses, whatever the spelling (RFC 4007, section 11; RFC 4291, section 2.5.5.2)."""

from ipaddress import ip_network

import pytest

from models import addresses


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:207", "192.0.2.7"),
        ("::ffff:192.0.2.7%2", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("nonsense", "nonsense"),
        ("a:b", "a:b"),
        ("", ""),
    ],
)
def test_an_address_has_one_form(written: str, form: str) -> None:
    assert addresses.canonical(written) == form


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        (" 192.0.2.7 ", "192.0.2.7"),
        ("192.0.2.7:443", "192.0.2.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("unknown", "None"),
        ("_hidden", "None"),
        ("", "None"),
    ],
)
def test_a_hop_may_carry_a_port(hop: str, address: str) -> None:
    assert str(addresses.parse_hop(hop)) == address


def test_networks_match_every_spelling_of_an_address() -> None:
    networks = (ip_network("192.0.2.0/24"), ip_network("fe80::/10"))
    for inside in ("192.0.2.7", "::ffff:192.0.2.7", "fe80::1%eth0"):
        assert addresses.is_in(inside, networks), inside
    for outside in ("192.0.3.7", "::ffff:192.0.3.7", "::1", "nonsense", ""):
        assert not addresses.is_in(outside, networks), outside


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", None),
    ],
)
def test_a_client_is_an_ipv4_address_or_a_64(address: str, client: str | None) -> None:
    assert addresses.customer_network(address) == client


def test_a_network_of_mapped_addresses_is_an_ipv4_network() -> None:
    assert addresses.unmapped(ip_network("::ffff:10.0.0.0/104")) == ip_network("10.0.0.0/8")
    assert addresses.unmapped(ip_network("::/0")) == ip_network("::/0")
    assert addresses.unmapped(ip_network("10.0.0.0/8")) == ip_network("10.0.0.0/8")

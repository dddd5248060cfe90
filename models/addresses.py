"""IP addresses: one canonical form for parsing, writing and comparing.

A zone (`fe80::1%eth0`) names an interface of the sender and is no part of the address (RFC 4007, section 11). An
IPv4-mapped IPv6 address (`::ffff:192.0.2.7`, RFC 4291, section 2.5.5.2) is the IPv4 address: dual-stack sockets and
some proxies write it so. Two spellings of one address must not be two clients, and two clients must not share a
counter.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

# One IPv6 customer has at least a /64 and can use every address in it (RFC 6177).
_IPV6_PREFIX = 64
_MAPPED = IPv6Network("::ffff:0:0/96")


# Parsing costs 5 µs, and the gateway asks several times for each connection.
@lru_cache(maxsize=4096)
def parse(text: str) -> Address | None:
    """Return the parsed address without its zone; None when it is malformed."""
    try:
        address = ip_address(text.partition("%")[0] if "%" in text else text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def canonical(text: str) -> str:
    """Return an address in canonical form; anything else unchanged."""
    if ":" not in text:
        return text  # IPv4 has only one accepted spelling.
    address = parse(text)
    return text if address is None else str(address)


def parse_hop(text: str) -> Address | None:
    """Return the address in one element of X-Forwarded-For, which some proxies write with a port or in brackets."""
    text = text.strip(" \t")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return parse(text)


def is_in(address: Address | str, networks: Iterable[Network]) -> bool:
    """Return whether an address is in one of the networks; a malformed one is in none."""
    found = parse(address) if isinstance(address, str) else address
    return found is not None and any(found in network for network in networks)


def customer_network(text: str) -> str | None:
    """Return what counts as one client: an IPv4 address, or the /64 of an IPv6 address; None when malformed."""
    address = parse(text)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return None if address is None else str(address)


def unmapped(network: Network) -> Network:
    """Return a network in canonical form: one of mapped addresses becomes an IPv4 network."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network

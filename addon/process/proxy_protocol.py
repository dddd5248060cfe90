"""PROXY protocol, versions 1 and 2: the client address as sent by a load balancer."""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

type Address = tuple[str, int]

_V1 = b"PROXY"
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
# The longest line of version 1, its line end included.
_V1_MAX = 107
_V2_HEAD = 16
_MAX_PORT = 65535


class ProxyHeaderError(Exception):
    """The connection does not begin with a valid PROXY header."""


class ProxyHeader(NamedTuple):
    """The client's address, None for the load balancer itself (a health check); the header's length in bytes."""

    address: Address | None
    length: int


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Return the header with which a connection begins, or None while it is incomplete. Raises ProxyHeaderError."""
    try:
        if data.startswith(_V1):
            return _parse_v1(data)
        if data.startswith(_V2):
            return _parse_v2(data)
    except (ValueError, struct.error) as error:
        raise ProxyHeaderError(str(error)) from error
    if _V1.startswith(data) or _V2.startswith(data):
        return None
    raise ProxyHeaderError("no signature")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _V1_MAX)
    if end < 0:
        if len(data) >= _V1_MAX:
            raise ProxyHeaderError("the line is too long")
        return None
    fields = data[:end].decode("ascii").split(" ")[1:]
    if fields[:1] == ["UNKNOWN"]:
        return ProxyHeader(None, end + 2)
    family, source, _, port, _ = fields
    address = ip_address(source)
    if family != f"TCP{address.version}" or not port.isascii() or not 0 < int(port) <= _MAX_PORT:
        raise ProxyHeaderError("the line is malformed")
    return ProxyHeader((str(address), int(port)), end + 2)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_HEAD:
        return None
    command, family, length = struct.unpack("!BBH", data[len(_V2) : _V2_HEAD])
    end = _V2_HEAD + length
    if len(data) < end:
        return None
    if command == 0x20:
        return ProxyHeader(None, end)
    if command != 0x21:
        raise ProxyHeaderError("an unknown command")
    body = data[_V2_HEAD:end]
    if family == 0x11:
        return ProxyHeader((str(IPv4Address(body[:4])), struct.unpack("!H", body[8:10])[0]), end)
    if family == 0x21:
        return ProxyHeader((str(IPv6Address(body[:16])), struct.unpack("!H", body[32:34])[0]), end)
    return ProxyHeader(None, end)

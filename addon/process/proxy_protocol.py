"""PROXY protocol, versions 1 and 2: the client address as sent by a load balancer."""

import asyncio
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

type Address = tuple[str, int]

_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
# The longest line of version 1, its line end included.
_V1_MAX = 107
_MAX_PORT = 65535


class ProxyHeaderError(Exception):
    """What came first is no PROXY header."""


async def read_proxy_header(reader: asyncio.StreamReader) -> Address | None:
    """Read one header, version 1 or 2, and nothing behind it.

    Returns the client's address, or None when the balancer speaks for itself (a health check). Raises
    ProxyHeaderError.
    """
    try:
        start = await reader.readexactly(5)
        if start == b"PROXY":
            return _parse_v1(await _read_line(reader))
        if start == _V2[:5]:
            return await _read_v2(reader)
    except (asyncio.IncompleteReadError, ValueError, struct.error) as error:
        raise ProxyHeaderError(str(error)) from error
    raise ProxyHeaderError("no signature")


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    line = b""
    while not line.endswith(b"\r\n"):
        if len(line) > _V1_MAX:
            raise ProxyHeaderError("the line is too long")
        line += await reader.readexactly(1)
    return line[:-2]


def _parse_v1(line: bytes) -> Address | None:
    fields = line.decode("ascii").split(" ")[1:]
    if fields[:1] == ["UNKNOWN"]:
        return None
    family, source, _, port, _ = fields
    address = ip_address(source)
    if family != f"TCP{address.version}" or not port.isascii() or not 0 < int(port) <= _MAX_PORT:
        raise ProxyHeaderError("the line is malformed")
    return str(address), int(port)


async def _read_v2(reader: asyncio.StreamReader) -> Address | None:
    if await reader.readexactly(len(_V2) - 5) != _V2[5:]:
        raise ProxyHeaderError("no signature")
    command, family, length = struct.unpack("!BBH", await reader.readexactly(4))
    body = await reader.readexactly(length)
    if command == 0x20:
        return None
    if command != 0x21:
        raise ProxyHeaderError("an unknown command")
    if family == 0x11:
        return str(IPv4Address(body[:4])), struct.unpack("!H", body[8:10])[0]
    if family == 0x21:
        return str(IPv6Address(body[:16])), struct.unpack("!H", body[32:34])[0]
    return None


class AddressedWriter:
    """A stream writer that gives the client's address in place of the balancer's."""

    def __init__(self, writer: asyncio.StreamWriter, address: Address) -> None:
        self._writer = writer
        self._address = address

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Answer `peername` with the client's address, and all else as the writer does."""
        return self._address if name == "peername" else self._writer.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

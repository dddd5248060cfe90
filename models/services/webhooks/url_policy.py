"""Webhook URL policy: only public addresses of the internet, never our own networks.

An address is judged by what its name resolves to at the moment of sending, and the connection is made to exactly that
address (jobs/http_post.py), which defeats DNS rebinding.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from models.config.settings import Settings
from models.services.errors import InvalidInput
from models.webhooks import DeliveryError

LONGEST = 500
# Ports of web servers. A POST must not reach mail servers and the like.
WEB_PORTS = frozenset({80, 443})
FIRST_FREE_PORT = 1024
# All public IPv6. Addresses that embed an IPv4 address could lead anywhere: mapped ones and NAT64 are outside, 6to4 is
# listed below.
PUBLIC_V6 = IPv6Network("2000::/3")
# Globally routable by registry, but refused: 6to4 and its relay, documentation, a cloud's metadata service.
REFUSED = (
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
    IPv4Network("192.0.0.0/24"),  # Python before 3.12.4 treats most of these as public.
    IPv4Network("192.88.99.0/24"),
    IPv4Network("168.63.129.16/32"),
)


class Unreachable(Exception):
    """A request must not or cannot be sent there; `error` says why, and no detail names an address of ours."""

    def __init__(self, error: DeliveryError, **details: str) -> None:
        super().__init__(error.value)
        self.error, self.details = error, details


def require_allowed(url: str, settings: Settings) -> str:
    """Return the URL if an endpoint may have it. Raises InvalidInput.

    Names are not resolved here: that happens, and is checked, for each request.
    """
    url = url.strip()
    parts = _parts(url)
    if parts is None or len(url) > LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidInput("url", "webhook_url_malformed")
    if parts.scheme != "https" and (settings.platform.is_production or parts.scheme != "http"):
        raise InvalidInput("url", "webhook_url_not_https")
    if parts.username is not None or parts.fragment:
        raise InvalidInput("url", "webhook_url_has_credentials")
    port = parts.port or WEB_PORTS_BY_SCHEME[parts.scheme]
    if port not in WEB_PORTS and port < FIRST_FREE_PORT:
        raise InvalidInput("url", "webhook_port_not_allowed")
    if not settings.webhooks.allow_private and _is_ours(parts.hostname or "", settings):
        raise InvalidInput("url", "webhook_url_private")
    return url


def addresses(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Resolve a host once and return its addresses. Raises Unreachable unless all of them are allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable(DeliveryError.HOST_UNRESOLVED) from None
    resolved = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private and not all(is_public(address) for address in resolved):
        raise Unreachable(DeliveryError.HOST_PRIVATE)
    return resolved


def is_public(text: str) -> bool:
    """Return whether a connection to an address is allowed for a user's webhook."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return False
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv6Address) and address not in PUBLIC_V6:
        return False
    return not any(address in network for network in REFUSED if network.version == address.version)


WEB_PORTS_BY_SCHEME = {"http": 80, "https": 443}


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError on a port that is no number
    except ValueError:
        return None
    return parts if parts.hostname and parts.scheme in WEB_PORTS_BY_SCHEME else None


def _is_ours(host: str, settings: Settings) -> bool:
    """Return whether a host is one of ours by name, or a literal address that is not public."""
    own = {urlsplit(settings.portal.address).hostname, urlsplit(settings.proxy.address).hostname, "localhost"}
    try:
        ip_address(host)
    except ValueError:
        return host.rstrip(".").lower() in own
    return not is_public(host)

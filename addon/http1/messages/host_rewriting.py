"""Rewrites the upstream's host in responses to the proxy's, and the proxy's host in requests to the upstream's.

Without this a redirect takes a browser past the proxy, a cookie for the upstream's domain is discarded, and an
upstream that compares Origin or Referer with its own address refuses forms of its own pages. nginx does the same with
proxy_redirect (by default) and proxy_cookie_domain.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from addon.http1.decisions import Peer
from addon.http1.messages.heads import Header, Headers, RequestHead
from addon.http1.messages.request_target import authority_key

# Response headers that may name the upstream's host, and request headers that may name the proxy's.
_IN_RESPONSES = frozenset({b"location", b"content-location", b"refresh", b"set-cookie"})
IN_REQUESTS = frozenset({b"origin", b"referer"})
_ORIGIN = re.compile(rb"(?:(https?):)?//([^/?#\\]*)", re.IGNORECASE)
_REFRESH = re.compile(rb"([^=]*\burl\s*=\s*[\"']?)(.*)", re.IGNORECASE | re.DOTALL)


def may_name_host(headers: Headers) -> bool:
    """Return whether a response may have a header to rewrite; most have none, and cookies rarely have a domain."""
    first = headers.first
    if b"location" in first or b"content-location" in first or b"refresh" in first:
        return True
    return b"set-cookie" in first and headers.raw.lower().find(b"domain") >= 0


@dataclass(frozen=True, slots=True)
class HostRewriting:
    """The host names of both sides; authorities are keys from `authority_key`."""

    # "http://upstream:8000", as the upstream itself would write it.
    upstream_origin: bytes
    upstream_authorities: frozenset[bytes]
    upstream_hosts: frozenset[bytes]
    # The proxy's public address.
    own_origin: bytes
    compatibility_prefix: bytes = b""

    def to_client(self, items: Iterable[Header], request: RequestHead, peer: Peer) -> list[Header]:
        """Rewrite the header lines of a response."""
        rewritten = []
        for lower, name, given in items:
            value = self._reply_value(lower, given, request, peer) if lower in _IN_RESPONSES else given
            rewritten.append((lower, name, value))
        return rewritten

    def to_upstream(self, lower: bytes, value: bytes, request: RequestHead, peer: Peer) -> bytes:
        """Rewrite an Origin or Referer that names the proxy's host, as this client reaches it."""
        match = _ORIGIN.match(value)
        if match is None or match[1] is None or request.host is None:
            return value
        scheme = match[1].lower()
        named = scheme, authority_key(scheme, match[2])
        own_scheme, own_authority = _split(self.own_origin)
        if named not in {(peer.scheme.encode(), authority_key(scheme, request.host)), (own_scheme, own_authority)}:
            return value
        rest = value[match.end() :]
        prefix = self.compatibility_prefix
        if lower == b"referer" and prefix and rest.startswith(prefix + b"/"):
            rest = rest[len(prefix) :]
        return self.upstream_origin + rest

    def _reply_value(self, lower: bytes, value: bytes, request: RequestHead, peer: Peer) -> bytes:
        if lower == b"set-cookie":
            return self._host_only(value)
        if lower == b"refresh":
            match = _REFRESH.fullmatch(value)
            return value if match is None else match[1] + self._reference(match[2], request, peer)
        return self._reference(value, request, peer)

    def _reference(self, reference: bytes, request: RequestHead, peer: Peer) -> bytes:
        """Rewrite the origin of a reference to the upstream's host."""
        match = _ORIGIN.match(reference)
        if match is None:
            return reference
        authority = match[2].rpartition(b"@")[2]
        schemes = (match[1].lower(),) if match[1] else (b"http", b"https")
        if not any(authority_key(scheme, authority) in self.upstream_authorities for scheme in schemes):
            return reference
        rest = reference[match.end() :]
        if not rest.startswith(b"/"):
            rest = b"/" + rest
        origin = self._origin_for(request, peer)
        if origin is None:
            # `/.` keeps a path that begins with two slashes from naming another host (RFC 3986, section 4.2).
            return b"/." + rest if rest.startswith((b"//", b"/\\")) else rest
        return origin + rest

    def _origin_for(self, request: RequestHead, peer: Peer) -> bytes | None:
        """Return the proxy's origin as this client reaches it; None where the path alone has to be sent.

        Below the compatibility prefix, a browser connects through the desktop client, whose address is unknown here.
        """
        host = request.host
        if request.compat or host is None:
            return None
        own_scheme, own_authority = _split(self.own_origin)
        if authority_key(own_scheme, host) == own_authority:
            # A proxy in front may terminate TLS without sending X-Forwarded-Proto.
            return self.own_origin
        return b"%b://%b" % (peer.scheme.encode(), host)

    def _host_only(self, cookie: bytes) -> bytes:
        """Remove a Domain that covers the upstream's host from a cookie, which makes it host-only for the proxy."""
        if b"domain" not in cookie.lower():
            return cookie
        pair, *attributes = cookie.split(b";")
        return b";".join([pair, *(one for one in attributes if not self._is_own_domain(one))])

    def _is_own_domain(self, attribute: bytes) -> bool:
        name, _, value = attribute.partition(b"=")
        domain = value.strip(b" \t").lower().removeprefix(b".")
        return (
            name.strip(b" \t").lower() == b"domain"
            and domain != b""
            and any(host == domain or host.endswith(b"." + domain) for host in self.upstream_hosts)
        )


def _split(origin: bytes) -> tuple[bytes, bytes]:
    scheme, _, authority = origin.partition(b"://")
    return scheme, authority_key(scheme, authority)

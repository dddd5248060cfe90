"""Rewrites heads for the other side: headers that are forwarded, dropped or added, and cookies."""

from collections.abc import Callable
from dataclasses import dataclass

from addon.http1.decisions import Admit, Peer
from addon.http1.messages.cors import Cors
from addon.http1.messages.header_rules import (
    NEVER_FORWARDED_TO_CLIENT,
    NOT_NOMINABLE,
    RATE_LIMIT,
    is_forwarded_upstream,
)
from addon.http1.messages.heads import Header, Headers, RequestHead, ResponseHead
from addon.http1.messages.host_rewriting import IN_REQUESTS, HostRewriting, may_name_host
from models.addresses import Network, is_in, parse_hop

# Headers dropped from a response, by whether its length and its rate limit headers are dropped too.
_DROPPED_DOWN = {
    (drop_length, limited): NEVER_FORWARDED_TO_CLIENT
    | (frozenset({b"content-length"}) if drop_length else frozenset())
    | (RATE_LIMIT if limited else frozenset())
    for drop_length in (False, True)
    for limited in (False, True)
}
_MEMO_SIZE = 16
# Nothing shorter can contain a token or another secret of this service, plain or escaped.
_SHORTEST_SECRET = 64


def _holds_none(_value: bytes) -> bool:
    return False


def _as_it_is(value: bytes) -> bytes:
    return value


@dataclass(frozen=True, slots=True)
class Rules:
    """The configured rules of forwarding."""

    # Empty: off.
    compatibility_prefix: bytes = b"/api/v1/proxy"
    # First path segment of the proxy's own addresses, which are never forwarded.
    reserved: bytes = b"_zenzefi"
    # Names of this service's cookies, in lower case.
    cookies: frozenset[bytes] = frozenset()
    # Proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted.
    trusted_proxies: tuple[Network, ...] = ()
    portal_url: str = ""
    # CORS rules; None: the upstream's own are sent on.
    cors: Cors | None = None
    # Rewriting of host names in both directions; None: off.
    rewriting: HostRewriting | None = None
    # Authority keys that a target in absolute form may have.
    own_authorities: frozenset[bytes] = frozenset()
    # The name of this proxy in Via; empty: Via is not extended.
    via: bytes = b""
    # Whether a value contains a token or another secret of this service, in whatever header.
    holds_secret: Callable[[bytes], bool] = _holds_none
    # Mask such secrets in a value, where they are not escaped.
    mask_secrets: Callable[[bytes], bytes] = _as_it_is


def forwarded_peer(proxy: Peer, headers: Headers, rules: Rules) -> Peer:
    """Return the client behind trusted proxies: the last address in X-Forwarded-For that is not one of them."""
    address, scheme = proxy.address, proxy.scheme
    proto = headers.get(b"x-forwarded-proto")
    if proto in (b"http", b"https"):
        scheme = proto.decode()
    chain = b",".join(headers.all(b"x-forwarded-for")).split(b",")
    for hop in reversed(chain):
        found = parse_hop(hop.decode("latin-1"))
        if found is None:
            break
        address = str(found)
        if not is_in(found, rules.trusted_proxies):
            break
    return Peer(address, scheme, was_forwarded=True)


def strip_prefix(raw_path: bytes, prefix: bytes) -> bytes | None:
    """Remove the compatibility prefix from a path; return None when the path does not begin with its segments."""
    if not prefix or not raw_path.startswith(prefix):
        return None
    rest = raw_path[len(prefix) :]
    if not rest:
        return b"/"
    return rest if rest.startswith(b"/") else None


def mask_target(request: RequestHead, rules: Rules) -> bool:
    """Mask this service's secrets in the request target; return False when an escaped one remains."""
    if len(request.path) + len(request.query or b"") < _SHORTEST_SECRET or not rules.holds_secret(request.target):
        return True
    request.path = rules.mask_secrets(request.path)
    request.query = None if request.query is None else rules.mask_secrets(request.query)
    return not rules.holds_secret(request.target)


def _lines(items: list[Header]) -> bytes:
    return b"".join([b"%b: %b\r\n" % (name, value) for _, name, value in items])


def request_trailers(trailers: list[Header], rules: Rules) -> list[Header]:
    """Return the client's trailers that would be forwarded as headers."""
    return [line for line in trailers if is_forwarded_upstream(line[0]) and not rules.holds_secret(line[2])]


def _passing(request: RequestHead, peer: Peer, rules: Rules) -> bytes:
    """Return the client's header lines that are forwarded, in order, with the lines added to every such block."""
    headers, compat, is_options = request.headers, request.compat, request.method == "OPTIONS"
    key = (compat, is_options, peer.scheme, request.target_authority)
    cached = headers.memo.get(key)
    if cached is not None:
        return cached
    nominated = headers.connection - NOT_NOMINABLE
    kept: list[Header] = []
    for lower, name, value in headers.items:
        if lower in nominated or not is_forwarded_upstream(lower):
            continue
        if lower == b"accept-encoding" and compat:
            continue
        if lower == b"cookie":
            rest = _foreign_cookies(value, rules)
            if rest is not None:
                kept.append((lower, name, rest))
        elif rules.holds_secret(value):
            continue
        elif lower in IN_REQUESTS and rules.rewriting is not None:
            kept.append((lower, name, rules.rewriting.to_upstream(lower, value, request, peer)))
        elif lower == b"max-forwards" and is_options:
            kept.append((lower, name, b"%d" % (int(value) - 1)))
        else:
            kept.append((lower, name, value))
    if compat:
        kept.append((b"accept-encoding", b"Accept-Encoding", b"identity"))
    if rules.via:
        # With the client's HTTP version (RFC 9110, section 7.6.3).
        kept.append((b"via", b"Via", b"1.%d %b" % (not request.http10, rules.via)))
    headers.memo[key] = lines = _lines(kept)
    return lines


def _foreign_cookies(value: bytes, rules: Rules) -> bytes | None:
    """Remove this service's cookies, and its secrets under any name, from a Cookie header; None if nothing is left."""
    pairs = value.split(b";")
    kept = [pair for pair in pairs if _cookie_name(pair) not in rules.cookies and not rules.holds_secret(pair)]
    if len(kept) == len(pairs):
        return value
    return b";".join(kept).strip(b" \t") or None


def _forwarded(request: RequestHead, peer: Peer) -> bytes:
    headers = request.headers
    key = (peer.address, peer.scheme, request.target_authority)
    lines = headers.memo.get(key)
    if lines is None:
        host = request.host
        address, scheme = peer.address.encode(), peer.scheme.encode()
        node = b'"[%b]"' % address if b":" in address else address
        lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (address, scheme)
        if host is not None:
            lines += b"X-Forwarded-Host: %b\r\n" % host
        by_host = b'host="%b";' % host if host is not None else b""
        lines += b"Forwarded: for=%b;%bproto=%b\r\n" % (node, by_host, scheme)
        if len(headers.memo) >= _MEMO_SIZE:
            headers.memo.clear()  # One header block is used from very many addresses.
        headers.memo[key] = lines
    return lines


def request_head(
    request: RequestHead,
    peer: Peer,
    admit: Admit,
    request_id: str,
    rules: Rules,
    *,
    expect: bool,
    websocket: bool,
) -> bytes:
    """Return the request head for the upstream."""
    headers = request.headers
    framing = b""
    if b"transfer-encoding" in headers.first:
        framing = b"Transfer-Encoding: chunked\r\n"
    if expect:
        framing += b"Expect: 100-continue\r\n"
    if websocket:
        framing += b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b%bX-Request-ID: %b\r\nX-User-Id: %b\r\nX-Token-Id: %b\r\n\r\n" % (
        request.method.encode(),
        request.target,
        admit.upstream.host_header,
        _passing(request, peer, rules),
        framing,
        _forwarded(request, peer),
        request_id.encode(),
        admit.user_id.encode(),
        admit.token_id.encode(),
    )


def response_lines(
    response: ResponseHead, request: RequestHead, peer: Peer, rules: Rules, *, drop_length: bool, limited: bool
) -> bytes:
    """Return the header lines that are sent to the client, in order; unchanged unless they name the upstream's host."""
    headers, items = response.headers, response.headers.items
    key = (drop_length, limited)
    cached = headers.memo.get(key)
    if cached is not None:
        return cached
    dropped = _DROPPED_DOWN[drop_length, limited]
    if headers.connection:
        dropped |= headers.connection - NOT_NOMINABLE
    if b"set-cookie" in headers.first:
        items = [line for line in items if line[0] != b"set-cookie" or _cookie_name(line[2]) not in rules.cookies]
    if rules.cors is not None:
        items = [line for line in items if not line[0].startswith(b"access-control-")]
    is_rewritten = rules.rewriting is not None and may_name_host(headers)
    if rules.rewriting is not None and is_rewritten:
        items = rules.rewriting.to_client(items, request, peer)
    lines = b"".join([b"%b: %b\r\n" % (name, value) for lower, name, value in items if lower not in dropped])
    if not is_rewritten:  # Rewriting depends on the request.
        headers.memo[key] = lines
    return lines


def _cookie_name(pair: bytes) -> bytes:
    """Return the name by which a browser sends a cookie back; a cookie set without a name is sent as its value."""
    return pair.partition(b";")[0].lstrip(b"= \t").partition(b"=")[0].rstrip(b" \t").lower()

"""Headers, cookies and trailers that are forwarded in each direction."""

from ipaddress import ip_network

import pytest

from addon.http1.decisions import Admit
from addon.http1.messages.forwarding import Rules, strip_prefix
from tests.addon.http1.playbook import CHUNKED, GET, OK, Playbook


def sent(headers: bytes, *, rules: Rules | None = None, path: bytes = b"/a", admit: dict | None = None) -> bytes:
    play = Playbook(rules=rules)
    play.policy.decide = lambda _: Admit(play.upstream, "t1", "u1", **(admit or {}))
    play.send(b"GET %b HTTP/1.1\r\nHost: proxy.example\r\n%b\r\n" % (path, headers))
    return play.upstreams[0]


def returned(headers: bytes, *, rules: Rules | None = None, request: bytes = GET, lines: bytes = b"") -> bytes:
    play = Playbook(rules=rules)
    play.policy.decide = lambda _: Admit(play.upstream, "t1", "u1", reply_lines=lines)
    return play.send(request).reply(b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nok" % headers).received


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: keep-alive, X-Secret\r\nX-Secret: 1",
        b"Keep-Alive: timeout=5",
        b"TE: trailers",
        b"Proxy-Authorization: Basic abc",
        b"Proxy-Connection: keep-alive",
        b"Upgrade: h2c",
        b"X-Forwarded-For: 6.6.6.6",
        b"X-Forwarded-Port: 6",
        b"x-forwarded-prefix: /6",
        b"Forwarded: for=6.6.6.6",
        b"X-Real-IP: 6.6.6.6",
        b"X-User-Id: evil",
        b"X_User_Id: evil",
        b"X-Token-Id: evil",
        b"X_Token-Id: evil",
        b"X.User.Id: evil",
        b"X~Token+Id: evil",
        b"X-Forwarded: for=6.6.6.6",
        b"Client-IP: 6.6.6.6",
        b"X.Forwarded.For: 6.6.6.6",
        b"X-Request-ID: evil",
        b"X-Access-Token: evil",
        b"X-Device-ID: evilevilevil",
        b"X-Original-URL: /evil",
        b"X-Rewrite-URL: /evil",
        b"X-HTTP-Method-Override: DELETE",
        b"Proxy: http://evil",
        b"Content_Length: evil",
    ],
)
def test_headers_that_clients_may_not_set_are_dropped(line):
    head = sent(line + b"\r\nX-Keep: 1\r\n")
    assert b"evil" not in head
    assert b"6.6.6.6" not in head
    names = [part.split(b":")[0].lower() for part in line.split(b"\r\n")]
    ours = {b"x-forwarded-for", b"forwarded", b"x-user-id", b"x-token-id", b"x-request-id"}
    for name in set(names) - ours:
        assert name + b":" not in head.lower()
    assert b"\r\nX-Keep: 1\r\n" in head


def test_connection_cannot_remove_protected_headers():
    head = sent(b"Connection: close, authorization, cookie, x-user-id\r\nAuthorization: Basic abc\r\nCookie: a=b\r\n")
    assert b"Authorization: Basic abc" in head
    assert b"Cookie: a=b" in head
    assert b"X-User-Id: u1" in head


def test_other_headers_are_forwarded_unchanged_and_in_order():
    lines = b"X-B: 2\r\nx-a:  odd  spacing \r\nX-B: 1\r\nAccept: */*\r\nX-Latin: \xe9\r\nX-Empty:\r\n"
    assert b"\r\nX-B: 2\r\nx-a: odd  spacing\r\nX-B: 1\r\nAccept: */*\r\nX-Latin: \xe9\r\nX-Empty: \r\n" in sent(lines)


def test_path_and_query_are_forwarded_unchanged():
    target = b"/a;x=1/%E4%BD%A0/~b?x=%2F..%2f&y=//&&=%zz'\"<>"
    assert sent(b"", path=target).startswith(b"GET " + target + b" HTTP/1.1\r\n")
    assert sent(b"", path=b"/a?").startswith(b"GET /a? HTTP/1.1\r\n")


def test_the_services_cookies_are_not_forwarded():
    rules = Rules(cookies=frozenset({b"zenzefi", b"__host-zenzefi"}))
    assert b"\r\nCookie: a=1; b=2\r\n" in sent(b"Cookie: a=1; zenzefi=s; b=2\r\n", rules=rules)
    assert b"\r\nCookie: b=2\r\n" in sent(b"Cookie: __Host-zenzefi=s; b=2\r\n", rules=rules)
    assert b"Cookie" not in sent(b"Cookie: zenzefi=s\r\n", rules=rules)
    assert b"Cookie" not in sent(b"Cookie: =zenzefi=s; ZENZEFI =s\r\n", rules=rules)
    assert b"\r\nCookie: xzenzefi=s\r\n" in sent(b"Cookie: xzenzefi=s\r\n", rules=rules)


def test_the_upstream_cannot_set_them():
    rules = Rules(cookies=frozenset({b"zenzefi"}))
    head = returned(b"Set-Cookie: zenzefi=evil; Path=/\r\nSet-Cookie: a=1\r\nClear-Site-Data: *\r\n", rules=rules)
    assert b"Set-Cookie: a=1\r\n" in head
    assert b"evil" not in head
    assert b"Clear-Site-Data" not in head
    for line in (b"=zenzefi=evil", b" = zenzefi=evil", b"ZENZEFI =evil; Path=/", b"zenzefi", b"==zenzefi=evil"):
        assert b"zenzefi" not in returned(b"Set-Cookie:" + line + b"\r\n", rules=rules).lower(), line


def test_alt_svc_of_the_upstream_is_dropped():
    assert b"Alt-Svc" not in returned(b'Alt-Svc: h3="10.0.0.1:443"\r\n')


def test_a_header_that_contains_a_secret_is_dropped_whatever_its_name():
    rules = Rules(holds_secret=lambda value: b"OURS" in value)
    assert b"Authorization: Bearer abc" in sent(b"Authorization: Bearer abc\r\n", rules=rules)
    head = sent(
        b"Authorization: Bearer OURS\r\nX-API-Key: OURS\r\nReferer: http://a/?t=OURS\r\nX-B: 1\r\n"
        b"Cookie: a=1; b=OURS; c=2\r\nCookie: d=OURS\r\n",
        rules=rules,
    )
    assert b"OURS" not in head
    assert b"\r\nX-B: 1\r\nCookie: a=1; c=2\r\nX-Forwarded-For" in head


def test_a_trailer_that_contains_a_secret_is_dropped():
    play = Playbook(rules=Rules(holds_secret=lambda value: b"OURS" in value))
    play.send(CHUNKED + b"1\r\na\r\n0\r\nX-A: OURS\r\nX-B: 1\r\nX-Remote-User: root\r\n\r\n")
    assert play.upstreams[0].endswith(b"0\r\nX-B: 1\r\n\r\n")


def test_hop_by_hop_headers_of_a_response_are_dropped():
    head = returned(
        b"Connection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nX-Request-ID: theirs\r\n"
        b"Upgrade: h2c\r\nProxy-Authenticate: Basic\r\nServer: them\r\nX-Multi: 2\r\nX-Multi: 1\r\n"
    )
    assert b"HTTP/1.1 200 OK\r\nServer: them\r\nX-Multi: 2\r\nX-Multi: 1\r\nContent-Length: 2\r\nX-Request-ID: " in head
    assert b"theirs" not in head


def test_the_gateways_rate_limit_headers_replace_the_upstreams():
    head = returned(b"RateLimit-Limit: 9\r\n", lines=b"RateLimit-Limit: 100\r\n")
    assert b"RateLimit-Limit: 100\r\n" in head
    assert b": 9\r\n" not in head


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/api/v1/proxy/a?b", b"/a?b"),
        (b"/api/v1/proxy", b"/"),
        (b"/api/v1/proxy?x", b"/?x"),
        (b"/api/v1/proxy/", b"/"),
        (b"/api/v1/proxyfoo", b"/api/v1/proxyfoo"),
        (b"/API/v1/proxy/a", b"/API/v1/proxy/a"),
    ],
)
def test_the_compatibility_prefix(path, expected):
    head = sent(b"Accept-Encoding: gzip, br\r\n", path=path)
    assert head.startswith(b"GET " + expected + b" HTTP/1.1\r\n")
    is_below = path != expected
    assert (b"Accept-Encoding: identity\r\n" in head) is is_below
    assert (b"gzip" in head) is not is_below


def test_the_prefix_can_be_turned_off():
    assert strip_prefix(b"/api/v1/proxy/a", b"") is None


def test_below_the_prefix_a_compressed_response_has_no_length():
    request = GET.replace(b"/a", b"/api/v1/proxy/a")
    reply = returned(b"Content-Encoding: gzip\r\n", request=request)
    assert b"Content-Length" not in reply
    assert b"Transfer-Encoding: chunked" in reply
    assert reply.endswith(b"\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    old = returned(b"Content-Encoding: gzip\r\n", request=request.replace(b"1.1", b"1.0"))
    assert b"Content-Length" not in old
    assert b"Connection: close" in old
    assert old.endswith(b"\r\n\r\nok")
    head = returned(b"Content-Encoding: gzip\r\n", request=request.replace(b"GET", b"HEAD"))
    assert b"Content-Length" not in head
    elsewhere = returned(b"Content-Encoding: gzip\r\n")
    assert b"Content-Length: 2" in elsewhere


def test_the_client_behind_trusted_proxies():
    trusted = Rules(trusted_proxies=(ip_network("192.0.2.0/24"), ip_network("10.0.0.0/8")))
    lines = b"X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.1.1\r\nX-Forwarded-Proto: https\r\n"
    head = sent(lines, rules=trusted)
    assert b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n" in head
    assert b"Forwarded: for=203.0.113.9;" in head
    head = sent(lines)
    assert b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n" in head
    head = sent(b"X-Forwarded-For: 2001:db8::1\r\n", rules=trusted)
    assert b'Forwarded: for="[2001:db8::1]";' in head
    head = sent(b"X-Forwarded-For: nonsense\r\n", rules=trusted)
    assert b"X-Forwarded-For: 192.0.2.7\r\n" in head


def test_repeated_headers_are_treated_the_same():
    play = Playbook(rules=Rules(cookies=frozenset({b"z"})))
    request = b"GET /%d HTTP/1.1\r\nHost: a\r\nCookie: z=1; b=2\r\nX-User-Id: evil\r\n\r\n"
    for number in range(3):
        play.send(request % number).reply(OK)
    heads = play.upstreams[0].split(b"\r\n\r\n")[:3]
    without_id = {
        b"\r\n".join(line for line in head.split(b"\r\n")[1:] if not line.startswith(b"X-Request-ID")) for head in heads
    }
    assert len(without_id) == 1
    assert b"z=1" not in play.upstreams[0]
    assert b"evil" not in play.upstreams[0]


@pytest.mark.parametrize(
    ("hop", "client"),
    [
        (b"fe80::1%eth0", b"fe80::1"),
        (b"::ffff:203.0.113.9", b"203.0.113.9"),
        (b"203.0.113.9:4711", b"203.0.113.9"),
        (b"[2001:db8::1]:4711", b"2001:db8::1"),
        (b"2001:DB8:0::1", b"2001:db8::1"),
        (b"203.0.113.9, ::ffff:10.1.1.1", b"203.0.113.9"),
    ],
)
def test_the_client_address_from_a_trusted_proxy_is_normalised(hop, client):
    """A zone is no part of an address (RFC 4007, 11), and a mapped IPv4 address is that address (RFC 4291, 2.5.5.2)."""
    trusted = Rules(trusted_proxies=(ip_network("192.0.2.0/24"), ip_network("10.0.0.0/8")))
    assert b"\r\nX-Forwarded-For: " + client + b"\r\n" in sent(b"X-Forwarded-For: " + hop + b"\r\n", rules=trusted)

"""Request targets in each form, methods, and OPTIONS with Max-Forwards (RFC 9110 and 9112)."""

import pytest

from addon.http1.decisions import Refuse
from addon.http1.messages.forwarding import Rules
from tests.addon.http1.playbook import OK, Playbook
from tests.addon.http1.replies import code, status

OURS = b"O" * 64
OWN = Rules(own_authorities=frozenset({b"proxy.example", b"10.0.0.1:8080"}))


def ask(line: bytes, more: bytes = b"", *, rules: Rules = OWN) -> Playbook:
    return Playbook(rules=rules).send(line + b" HTTP/1.1\r\nHost: other.example\r\n" + more + b"\r\n")


@pytest.mark.parametrize(
    ("target", "sent", "host"),
    [
        (b"http://proxy.example/a?b", b"/a?b", b"proxy.example"),
        (b"HTTP://Proxy.Example:80/a", b"/a", b"proxy.example"),
        (b"https://proxy.example:443", b"/", b"proxy.example"),
        (b"http://10.0.0.1:8080?b=/", b"/?b=/", b"10.0.0.1:8080"),
        (b"http://proxy.example/api/v1/proxy/a", b"/a", b"proxy.example"),
    ],
)
def test_a_target_in_absolute_form_that_names_the_proxy_overrides_host(target, sent, host):
    """RFC 9112, section 3.2.2: servers must accept it, and a proxy replaces Host with it."""
    head = ask(b"GET " + target).upstreams[0]
    assert head.startswith(b"GET " + sent + b" HTTP/1.1\r\nHost: upstream.example:8000\r\n")
    assert b"\r\nX-Forwarded-Host: " + host + b"\r\n" in head
    assert b'host="' + host + b'"' in head
    assert b"other.example" not in head


@pytest.mark.parametrize(
    "target",
    [b"http://evil.example/", b"http://proxy.example:81/", b"https://10.0.0.1/", b"http://proxy.example.evil/"],
)
def test_a_target_in_absolute_form_that_names_another_server_is_refused(target):
    play = ask(b"GET " + target)
    assert (status(play.received), code(play.received), play.upstreams) == (400, "bad_request", [])
    assert play.policy.requests == []


def test_the_same_headers_with_another_target_are_another_request():
    play = Playbook(rules=OWN)
    for target in (b"/a", b"http://proxy.example/a", b"http://10.0.0.1:8080/a", b"/a"):
        play.send(b"GET " + target + b" HTTP/1.1\r\nHost: other.example\r\n\r\n").reply(OK)
    hosts = [line for line in play.upstreams[0].split(b"\r\n") if line.startswith(b"X-Forwarded-Host")]
    assert [host.partition(b": ")[2] for host in hosts] == [
        b"other.example",
        b"proxy.example",
        b"10.0.0.1:8080",
        b"other.example",
    ]


@pytest.mark.parametrize(
    "method", [b"PROPFIND", b"REPORT", b"QUERY", b"M-SEARCH", b"get", b"BREW", b"VERSION-CONTROL", b"!#$"]
)
def test_any_token_is_a_method(method):
    """RFC 9110, section 9.1: methods are tokens, and the list of them is open."""
    play = ask(method + b" /a", b"Content-Length: 2\r\n").send(b"ok").reply(OK)
    assert play.upstreams[0].startswith(method + b" /a HTTP/1.1\r\n")
    assert play.upstreams[0].endswith(b"\r\n\r\nok")
    assert status(play.received) == 200


@pytest.mark.parametrize("line", [b"CONNECT a:80", b"CONNECT /", b"TRACE /", b"TRACE *", b"A" * 33 + b" /"])
def test_methods_that_are_never_forwarded_are_not_implemented(line):
    play = ask(line)
    assert (status(play.received), code(play.received), play.upstreams) == (501, "not_implemented", [])
    assert play.half_closed


def test_options_of_the_server_as_a_whole_is_forwarded():
    """RFC 9112, section 3.2.4: also from an absolute form without a path."""
    for target in (b"*", b"http://proxy.example"):
        assert ask(b"OPTIONS " + target).upstreams[0].startswith(b"OPTIONS * HTTP/1.1\r\n")
    assert ask(b"OPTIONS http://proxy.example/").upstreams[0].startswith(b"OPTIONS / HTTP/1.1\r\n")


def test_an_options_request_with_hops_left_is_forwarded_with_one_less():
    """RFC 9110, section 7.6.2."""
    play = Playbook()
    for hops in (1, 7):
        play.send(b"OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: %d\r\n\r\n" % hops).reply(OK)
        assert b"\r\nMax-Forwards: %d\r\n" % (hops - 1) in play.upstreams[0]
    assert b"\r\nMax-Forwards: 3\r\n" in ask(b"GET /a", b"Max-Forwards: 3\r\n").upstreams[0]


@pytest.mark.parametrize("target", [b"/a", b"*"])
def test_an_options_request_without_hops_left_is_answered_by_the_proxy(target):
    play = ask(b"OPTIONS " + target, b"Max-Forwards: 0\r\n")
    assert play.received.startswith(b"HTTP/1.1 204 ")
    assert b"\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" in play.received
    assert play.upstreams == []
    assert not play.closed


def test_the_last_hop_answers_admitted_requests_only():
    play = Playbook()
    play.policy.decide = lambda _: Refuse(401, "token_missing", "An access token is needed.")
    play.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
    assert status(play.received) == 401


@pytest.mark.parametrize(("version", "spoken"), [(b"1.1", b"1.1"), (b"1.0", b"1.0")])
def test_the_proxy_appends_itself_to_via(version, spoken):
    """RFC 9110, section 7.6.3: a gateway must, in each request that it forwards."""
    play = Playbook(rules=Rules(via=b"gateway"))
    play.send(b"GET / HTTP/" + version + b"\r\nHost: a\r\nConnection: via\r\nVia: 1.1 edge\r\n\r\n")
    assert b"\r\nVia: 1.1 edge\r\nVia: " + spoken + b" gateway\r\n" in play.upstreams[0]
    assert b"Via" not in ask(b"GET /").upstreams[0]


def test_a_secret_in_the_target_does_not_reach_the_upstream():
    """The rest of the target is forwarded unchanged; a secret that cannot be masked is refused."""
    rules = Rules(
        holds_secret=lambda value: OURS in value or b"%4f" + OURS[1:] in value,
        mask_secrets=lambda value: value.replace(OURS, b"masked"),
    )
    head = ask(b"GET /%b//a%%2fb?token=%b&b=%%zz" % (OURS, OURS), rules=rules).upstreams[0]
    assert head.startswith(b"GET /masked//a%2fb?token=masked&b=%zz HTTP/1.1\r\n")
    play = ask(b"GET /a?token=%4f" + OURS[1:], rules=rules)
    assert (status(play.received), code(play.received), play.upstreams) == (400, "bad_request", [])

"""Host names are rewritten: the upstream's in responses, the proxy's in requests."""

import pytest

from addon.http1.decisions import Admit
from addon.http1.messages.forwarding import Rules
from addon.http1.messages.host_rewriting import HostRewriting
from addon.process.layer_settings import build_forwarding_rules
from models.config import settings as config
from models.config.settings import Settings
from tests.addon.http1.playbook import Playbook

UP = HostRewriting(
    upstream_origin=b"http://upstream.example:8000",
    upstream_authorities=frozenset({b"upstream.example:8000", b"upstream.example"}),
    upstream_hosts=frozenset({b"upstream.example"}),
    own_origin=b"https://shop.example",
    compatibility_prefix=b"/api/v1/proxy",
)
RULES = Rules(rewriting=UP)


def exchange(
    lines: bytes = b"", *, reply: bytes = b"", path: bytes = b"/a", host: bytes = b"p:8080", rules: Rules = RULES
):
    play = Playbook(rules=rules)
    play.policy.decide = lambda _: Admit(play.upstream, "t1", "u1")
    play.send(b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + lines + b"\r\n")
    play.reply(b"HTTP/1.1 200 OK\r\n" + reply + b"Content-Length: 0\r\n\r\n")
    return play.upstreams[0], play.received


@pytest.mark.parametrize(
    ("original", "rewritten"),
    [
        (
            b"http://upstream.example:8000/login?next=http://upstream.example/",
            b"http://p:8080/login?next=http://upstream.example/",
        ),
        (b"https://Upstream.Example/x#f", b"http://p:8080/x#f"),
        (b"HTTP://upstream.example:80?q", b"http://p:8080/?q"),
        (b"http://upstream.example:8000", b"http://p:8080/"),
        (b"//upstream.example:8000/x", b"http://p:8080/x"),
        (b"http://user:pass@upstream.example/x", b"http://p:8080/x"),
        (b"/login", b"/login"),
        (b"login", b"login"),
        (b"http://elsewhere.example/", b"http://elsewhere.example/"),
        (b"http://upstream.example:9000/", b"http://upstream.example:9000/"),
        (b"http://upstream.example.evil/", b"http://upstream.example.evil/"),
        (b"/redirect?to=http://upstream.example/", b"/redirect?to=http://upstream.example/"),
    ],
)
@pytest.mark.parametrize("name", [b"Location", b"Content-Location"])
def test_a_reference_to_the_upstream_is_rewritten_to_the_proxy(name, original, rewritten):
    _, received = exchange(reply=name + b": " + original + b"\r\n")
    assert b"\r\n" + name + b": " + rewritten + b"\r\n" in received


@pytest.mark.parametrize(
    ("original", "rewritten"),
    [
        (b"5; url=http://upstream.example/x", b"5; url=http://p:8080/x"),
        (b"0;URL='http://upstream.example/x'", b"0;URL='http://p:8080/x'"),
        (b"5", b"5"),
        (b"5; url=/x", b"5; url=/x"),
    ],
)
def test_a_refresh_is_rewritten_to_the_proxy(original, rewritten):
    assert b"\r\nRefresh: " + rewritten + b"\r\n" in exchange(reply=b"Refresh: " + original + b"\r\n")[1]


def test_the_public_addresss_scheme_is_used_where_the_client_used_that_address():
    """A proxy in front may terminate TLS without sending X-Forwarded-Proto."""
    _, received = exchange(reply=b"Location: http://upstream.example/x\r\n", host=b"SHOP.example")
    assert b"Location: https://shop.example/x\r\n" in received


@pytest.mark.parametrize(
    ("original", "rewritten"),
    [(b"http://upstream.example/x?y", b"/x?y"), (b"http://upstream.example//evil.example/", b"/.//evil.example/")],
)
def test_below_the_compatibility_prefix_only_a_path_is_sent(original, rewritten):
    """The browser connects through the desktop client, whose address is unknown here."""
    _, received = exchange(reply=b"Location: " + original + b"\r\n", path=b"/api/v1/proxy/a")
    assert b"\r\nLocation: " + rewritten + b"\r\n" in received


@pytest.mark.parametrize(
    ("original", "rewritten"),
    [
        (b"a=1; Domain=upstream.example; Path=/", b"a=1; Path=/"),
        (b"a=1;domain=.Upstream.Example", b"a=1"),
        (b"a=1; Domain = example ; Secure", b"a=1; Secure"),
        (b"a=1; Domain=elsewhere.example", b"a=1; Domain=elsewhere.example"),
        (b"a=1; Domain=stream.example", b"a=1; Domain=stream.example"),
        (b"domain=upstream.example; Path=/", b"domain=upstream.example; Path=/"),
        (b"a=1; Domain=", b"a=1; Domain="),
    ],
)
def test_a_cookie_of_the_upstreams_domain_becomes_host_only(original, rewritten):
    assert b"\r\nSet-Cookie: " + rewritten + b"\r\n" in exchange(reply=b"Set-Cookie: " + original + b"\r\n")[1]


@pytest.mark.parametrize(
    ("original", "rewritten"),
    [
        (b"Origin: http://p:8080", b"Origin: http://upstream.example:8000"),
        (b"Origin: https://shop.example", b"Origin: http://upstream.example:8000"),
        (b"Origin: https://p:8080", b"Origin: https://p:8080"),
        (b"Origin: http://elsewhere.example", b"Origin: http://elsewhere.example"),
        (b"Origin: http://p:80801", b"Origin: http://p:80801"),
        (b"Origin: null", b"Origin: null"),
        (b"Referer: http://p:8080/x?y=http://p:8080/", b"Referer: http://upstream.example:8000/x?y=http://p:8080/"),
        (b"Referer: http://p:8080/api/v1/proxy/x", b"Referer: http://upstream.example:8000/x"),
        (b"Referer: http://p:8080", b"Referer: http://upstream.example:8000"),
        (b"Referer: http://elsewhere.example/p:8080", b"Referer: http://elsewhere.example/p:8080"),
    ],
)
def test_the_proxys_own_host_is_rewritten_to_the_upstreams(original, rewritten):
    assert b"\r\n" + rewritten + b"\r\n" in exchange(original + b"\r\n")[0]


def test_host_rewriting_can_be_turned_off(settings: Settings):
    lines = b"Origin: http://p:8080\r\n"
    reply = b"Location: http://upstream.example/x\r\nSet-Cookie: a=1; Domain=upstream.example\r\n"
    up, down = exchange(lines, reply=reply, rules=Rules())
    assert lines in up
    assert reply in down
    upstream = settings.upstream.model_copy(update={"url": "http://upstream.example"})
    on = settings.model_copy(update={"upstream": upstream})
    off = on.model_copy(update={"proxy": on.proxy.model_copy(update={"rewrite_upstream_host": False})})
    assert build_forwarding_rules(on).rewriting is not None
    assert build_forwarding_rules(off).rewriting is None


def test_the_names_come_from_the_settings(environment: dict[str, str]):
    made = build_forwarding_rules(
        config.load_settings(
            {
                **environment,
                "DATABASE_URL": "postgresql://localhost/x",
                "ZENZEFI_UPSTREAM__URL": "https://Up.example",
                "ZENZEFI_UPSTREAM__ADDRESSES": '["10.0.0.1:443", "[2001:db8::1]:8443"]',
                "ZENZEFI_PROXY__PUBLIC_URL": "https://proxy.example",
                "ZENZEFI_PROXY__VIA": "edge-1",
            }
        )
    )
    assert made.rewriting is not None
    assert made.rewriting.upstream_authorities == {b"up.example", b"10.0.0.1", b"[2001:db8::1]:8443"}
    assert made.rewriting.upstream_hosts == {b"up.example", b"10.0.0.1", b"2001:db8::1"}
    assert made.own_authorities >= {b"proxy.example", b"127.0.0.1:8080", b"localhost:8080"}
    assert made.via == b"edge-1"

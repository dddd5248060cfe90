"""Headers by which gateways assert identity, address or path are dropped from client requests."""

import pytest

from addon.http1.messages.header_rules import NEVER_FORWARDED_TO_CLIENT, is_forwarded_upstream

CLAIMS = """
    X-Original-URI X-Original-URL X-Original-Method X-Original-Host X-Rewrite-URI X-Rewrite-URL X-HTTP-Method-Override
    X-Envoy-Original-Path X-Envoy-External-Address X-Middleware-Subrequest X-Middleware-Rewrite X-Invoke-Path
    X-Accel-Redirect X-Accel-Buffering X-Accel-Mapping X-Sendfile-Type
    Remote-User Remote-Groups Remote-Addr X-Remote-User X-Remote-Group X-Remote-Addr X-Remote-Extra-Scopes
    X-Auth-Request-User X-WebAuth-User X-Authenticated-User X-Goog-Authenticated-User-Email X-Ms-Client-Principal-Name
    X-Amzn-Oidc-Identity Cf-Access-Authenticated-User-Email Tailscale-User-Login X-Consumer-Username Auth-User
    Client-Cert Client-Cert-Chain SSL-Client-Verify X-SSL-Client-DN X-Client-Cert X-Forwarded-Client-Cert
    X-Forwarded-User X-Forwarded-For X-Forwarded Forwarded X-Real-IP True-Client-IP CF-Connecting-IP Client-IP
    X-Originating-IP X-Azure-ClientIP WL-Proxy-Client-IP X-Host X-Url-Scheme Front-End-Https X-Appengine-User-Ip
    HTTP2-Settings Proxy Proxy-Authorization Keep-Alive TE Upgrade X-User-Id X-Token-Id X-Access-Token X-Device-ID
    """.split()  # noqa: SIM905 - a table of words
OWN = """
    Authorization Cookie Accept User-Agent Content-Type Origin Referer X-Requested-With X-API-Key X-Auth-Token
    X-Auth-Key X-Auth-User X-User-Agent X-CSRF-Token If-None-Match Range Traceparent Via Idempotency-Key Sec-Fetch-Site
    Priority X-Original-Filename X-Requested-By Upgrade-Insecure-Requests
    """.split()  # noqa: SIM905 - a table of words


@pytest.mark.parametrize("name", CLAIMS)
def test_a_client_cannot_claim_another_identity_address_path_or_method(name: str) -> None:
    lower = name.lower().encode()
    for spelling in (lower, lower.replace(b"-", b"_"), lower.replace(b"-", b"."), lower.replace(b"-", b"_", 1)):
        assert not is_forwarded_upstream(spelling), spelling


@pytest.mark.parametrize("name", OWN)
def test_headers_of_the_client_itself_are_forwarded(name: str) -> None:
    assert is_forwarded_upstream(name.lower().encode())


def test_headers_that_instruct_a_web_server_in_front_are_dropped() -> None:
    assert {
        b"x-accel-redirect",
        b"x-sendfile",
        b"x-accel-expires",
        b"alt-svc",
        b"clear-site-data",
    } <= NEVER_FORWARDED_TO_CLIENT
    # It only turns off response buffering.
    assert b"x-accel-buffering" not in NEVER_FORWARDED_TO_CLIENT

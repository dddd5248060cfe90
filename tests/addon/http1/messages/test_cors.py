"""CORS: allowed origins only, and never all origins with credentials."""

import pytest

from addon.http1.decisions import Refuse
from addon.http1.messages.cors import Cors
from addon.http1.messages.forwarding import Rules
from addon.process.layer_settings import build_forwarding_rules
from models.config.settings import ConfigError, Settings, load_settings
from tests.addon.http1.playbook import OK, Playbook
from tests.addon.http1.replies import code, status
from tests.conftest import SECRETS

LISTED = b"https://app.example"
NEEDED = {**SECRETS, "DATABASE_URL": "postgresql://shop@db/zenzefi", "REDIS_URL": "redis://cache/0"}


def play_for(*origins: bytes, credentials: bool = False) -> Playbook:
    return Playbook(rules=Rules(cors=Cors(frozenset(origins), credentials=credentials)))


def asking(origin: bytes, *, method: bytes = b"OPTIONS", more: bytes = b"", path: bytes = b"/a") -> bytes:
    wants = b"Access-Control-Request-Method: PUT\r\n" if method == b"OPTIONS" else b""
    return b"%b %b HTTP/1.1\r\nHost: a\r\nOrigin: %b\r\n%b%b\r\n" % (method, path, origin, wants, more)


def settings(**variables: str) -> Settings:
    return load_settings({**NEEDED, "ZENZEFI_UPSTREAM__URL": "http://up.example", **variables})


def test_a_preflight_of_an_allowed_origin_is_answered_without_a_token() -> None:
    play = play_for(LISTED)
    play.send(asking(LISTED, more=b"Access-Control-Request-Headers: x-access-token, X-Device-ID\r\n"))
    assert status(play.received) == 204
    assert b"Access-Control-Allow-Origin: https://app.example\r\n" in play.received
    assert b"Access-Control-Allow-Headers: x-access-token, X-Device-ID\r\n" in play.received
    assert b"Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" in play.received
    assert b"Access-Control-Max-Age: 600\r\n" in play.received
    assert b"Vary: Origin\r\n" in play.received
    assert b"Credentials" not in play.received
    assert play.policy.requests == []
    assert play.upstreams == []


@pytest.mark.parametrize(
    "request_",
    [
        asking(b"https://evil.example"),
        asking(b"https://app.example.evil"),
        asking(b"https://app.example:8443"),
        asking(b"http://app.example"),
        asking(b"null"),
        asking(LISTED).replace(b"Access-Control-Request-Method: PUT\r\n", b""),
        asking(LISTED, method=b"GET", more=b"Access-Control-Request-Method: PUT\r\n"),
    ],
)
def test_other_options_requests_are_admitted_like_any_request(request_: bytes) -> None:
    play = play_for(LISTED)
    play.policy.decide = lambda _: Refuse(401, "token_missing", "An access token is needed.")
    play.send(request_)
    assert status(play.received) == 401


def test_a_preflight_must_be_well_formed_too() -> None:
    play = play_for(LISTED).send(asking(LISTED, path=b"/a/../b"))
    assert code(play.received) == "bad_request"
    assert b"Access-Control-Allow-Origin: https://app.example\r\n" in play.received
    play = play_for(LISTED).send(asking(LISTED, more=b"Access-Control-Request-Headers: a b\r\n"))
    assert b"Access-Control-Allow-Headers" not in play.received


def test_configured_origins_replace_the_upstreams_cors_headers() -> None:
    theirs = OK.replace(
        b"\r\n\r\n", b"\r\nAccess-Control-Allow-Origin: *\r\naccess-control-allow-credentials: true\r\n\r\n"
    )
    play = play_for(LISTED).send(asking(LISTED, method=b"GET")).reply(theirs)
    assert play.received.count(b"ccess-Control-Allow-Origin") == 1
    assert b"Access-Control-Allow-Origin: https://app.example\r\n" in play.received
    assert b"Access-Control-Expose-Headers: X-Request-ID, Retry-After, RateLimit-Limit" in play.received
    assert b"redentials" not in play.received
    play = play_for(LISTED).send(asking(b"https://evil.example", method=b"GET")).reply(theirs)
    assert b"ccess-control" not in play.received.lower()
    assert b"Vary: Origin\r\n" in play.received
    play = Playbook().send(asking(b"https://evil.example", method=b"GET")).reply(theirs)
    assert b"Access-Control-Allow-Origin: *\r\n" in play.received


def test_a_refusal_can_be_read_by_an_allowed_origin() -> None:
    play = play_for(LISTED, credentials=True)
    play.policy.decide = lambda _: Refuse(429, "rate_limited", "Too many.", [("Retry-After", "3")])
    play.send(asking(LISTED, method=b"GET"))
    assert b"Access-Control-Allow-Origin: https://app.example\r\n" in play.received
    assert b"Access-Control-Allow-Credentials: true\r\n" in play.received


def test_all_origins_can_be_allowed_without_credentials() -> None:
    play = play_for(b"*").send(asking(b"https://any.example"))
    assert status(play.received) == 204
    assert b"Access-Control-Allow-Origin: *\r\n" in play.received


def test_cors_is_off_by_default_and_never_allows_all_origins_with_credentials() -> None:
    assert build_forwarding_rules(settings()).cors is None
    cors = build_forwarding_rules(settings(ZENZEFI_PROXY__CORS__ORIGINS='["https://app.example/"]')).cors
    assert cors is not None
    assert cors.origins == {LISTED}
    with pytest.raises(ConfigError, match=r"proxy\.cors"):
        settings(ZENZEFI_PROXY__CORS__ORIGINS='["*"]', ZENZEFI_PROXY__CORS__CREDENTIALS="true")
    with pytest.raises(ConfigError, match=r"proxy\.cors"):
        settings(ZENZEFI_PROXY__CORS__ORIGINS='["app.example"]')

"""A token's owner sees what comes through, why something was refused, and what the scope says to a request."""

import re
from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisDown
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.services.actor import PLATFORM
from models.services.gateway import recent_requests
from models.services.tokens import revocation
from models.users import User
from portal.presentation import refusal_reasons
from portal.views.shop.live_traffic import raw_path_of
from tests.conftest import Clock
from tests.factories import buy
from tests.portal.conftest import Browser, attribute, text_of


@pytest.fixture
def token(session: Session, alice: User, settings: Settings) -> AccessToken:
    token = buy(session, alice, settings, scope="certificates_only")
    session.commit()
    return token


def leave(redis: Redis, key: str, path: str, status: int, code: str = "") -> None:
    """Leave a request as a worker does."""
    redis.lpush(key, recent_requests.encode(clock.now().timestamp(), "GET", path, (status, 1, 2048, 12.5), code))


def test_the_owner_sees_the_last_requests_and_why_some_were_refused(
    as_alice: Browser, as_charlie: Browser, token: AccessToken, redis: Redis
) -> None:
    leave(redis, recent_requests.requests_key(token.id), "/certificates/<b>filter", 200)
    leave(redis, recent_requests.refusals_key(token.id), "/users/currentUser", 403, "scope_denied")
    leave(redis, recent_requests.refusals_key(token.id), "/", 418, "from_a_newer_worker")
    page = as_alice.get(f"/tokens/{token.id}/traffic")
    assert "/certificates/&lt;b&gt;filter" in page.text
    assert "2.0 KiB" in page.text
    for shown in (page, as_alice.get(f"/tokens/{token.id}")):
        assert 'data-refusal="scope_denied"' in shown.text
        # What comes within a minute of each other is told apart by its seconds.
        assert re.search(r'data-local="seconds">[^<]+, \d\d:\d\d:\d\d\sUTC<', shown.text)
        assert "The token's scope does not include this path." in shown.text
        assert "The proxy had an internal error." in shown.text
    assert as_charlie.get(f"/tokens/{token.id}/traffic").status_code == 404
    assert as_charlie.get(f"/tokens/{token.id}/try").status_code == 404


def test_requests_older_than_the_shown_period_are_omitted(
    login: Callable[[User], Browser], alice: User, token: AccessToken, redis: Redis, time: Clock
) -> None:
    """A list of the last hour holds the last hour, however long newer entries keep its key alive."""
    leave(redis, recent_requests.requests_key(token.id), "/an-hour-ago", 200)
    leave(redis, recent_requests.refusals_key(token.id), "/a-week-ago", 403, "scope_denied")
    time.advance(days=7, seconds=1)
    leave(redis, recent_requests.requests_key(token.id), "/just-now", 200)
    as_alice = login(alice)
    page = as_alice.get(f"/tokens/{token.id}/traffic").text
    assert "/just-now" in page
    assert "/an-hour-ago" not in page
    assert "/a-week-ago" not in page
    assert "No rejected requests in the last seven days." in as_alice.get(f"/tokens/{token.id}").text


def test_the_page_refreshes_itself_until_it_is_turned_off(as_alice: Browser, token: AccessToken) -> None:
    assert 'data-refresh="2000"' in as_alice.get(f"/tokens/{token.id}/traffic").text
    assert "data-refresh" not in as_alice.get(f"/tokens/{token.id}/traffic?live=0").text


def test_without_redis_the_token_has_its_page_all_the_same(
    as_alice: Browser, token: AccessToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise RedisDown

    monkeypatch.setattr(Redis, "lrange", down)
    for path in ("", "/traffic"):
        page = as_alice.get(f"/tokens/{token.id}{path}")
        assert page.status_code == 200
        assert "cannot be shown at the moment" in page.text


@pytest.mark.parametrize(
    ("method", "path", "code", "words"),
    [
        ("GET", "/certificates/filter?a=1", "allowed", "certificates/filter/**"),
        ("POST", "certificates/details/17", "allowed", "certificates/details/{id}"),
        ("GET", "/api/v1/proxy/certificates/remove", "allowed", "certificates/remove"),
        ("GET", "https://zenzefi.example/certificates/restore?x", "allowed", "certificates/restore"),
        ("GET", "/users/currentUser", "scope_denied", "No rule of this scope allows"),
        ("GET", "/certificates/details/1;x", "scope_denied", "No rule of this scope allows"),
        ("GET", "/certificates/filter/../../users", "bad_request", "dot segment"),
        ("GET", "/certificates%2ffilter", "bad_request", "encoded slash"),
        ("GET", "/%5fzenzefi/status", "reserved", "belong to the proxy"),
        ("TRACE", "/certificates/filter", "allowed", "certificates/filter/**"),
    ],
)
def test_a_request_is_tried_against_the_scope(
    *, as_alice: Browser, token: AccessToken, method: str, path: str, code: str, words: str
) -> None:
    page = as_alice.get(f"/tokens/{token.id}/try", query_string={"method": method, "path": path})
    assert attribute(page, "ruling", "data-code") == code
    assert words in text_of(page, "alert")


def test_a_request_test_shows_that_the_token_is_unusable(
    as_alice: Browser, token: AccessToken, alice: User, session: Session, settings: Settings
) -> None:
    path = f"/tokens/{token.id}/try?path=/certificates/filter"
    said = "The proxy currently rejects all requests with this token."
    assert said not in as_alice.get(path).text
    revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    session.commit()
    assert f"This token is revoked. {said}" in as_alice.get(path).text


def test_what_is_typed_goes_as_a_client_would_send_it() -> None:
    assert raw_path_of("/a b/ü?q=1") == b"/a%20b/%C3%BC"
    assert raw_path_of("/a%20b/;x") == b"/a%20b/;x"
    assert raw_path_of("http://host") == b"/"


def test_every_rejection_of_the_gate_has_a_text_of_its_own() -> None:
    gate = {
        "bad_request", "token_expired", "token_revoked", "account_disabled", "token_paused", "token_invalid",
        "too_many_failures", "device_missing", "device_invalid", "scope_denied", "rate_limited", "device_conflict",
        "upstream_unreachable", "upstream_timeout", "unavailable",
    }  # fmt: skip
    assert gate <= refusal_reasons.REASONS.keys()

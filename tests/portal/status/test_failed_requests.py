"""Failed requests are found in the admin area by the request id of the response."""

import json

import pytest
from redis import Redis
from werkzeug.test import TestResponse

from models.services.monitoring import failed_requests
from models.users import User
from portal.status import recent_requests
from tests.conftest import some_id
from tests.portal.conftest import Browser

SECRET = "Zk3" * 14


def id_of(answer: TestResponse) -> str:
    """Return the id that an answer names, once it is sent to its end."""
    answer.close()
    return answer.headers["X-Request-ID"]


def test_an_admin_finds_what_a_request_was(as_dana: Browser, as_alice: Browser, alice: User) -> None:
    path = f"/tokens/{some_id()}"
    request_id = id_of(as_alice.get(f"{path}?q=private"))
    where = as_dana.post("/admin/find", q=request_id).location
    assert where == f"/admin/audit?request={request_id}"
    html = as_dana.get(where).text
    for said in ("Request details", f"GET {path}", ">404<", "NotFound", str(alice.id), "127.0.0.1", "Portal"):
        assert said in html
    assert "private" not in html
    assert as_dana.post("/admin/find", q="0" * 32).location.startswith("/admin/users")
    assert "Request details" not in as_dana.get(f"/admin/audit?request={'0' * 32}").text


def test_refusals_of_the_api_are_found_too(as_dana: Browser, anonymous: Browser) -> None:
    answer = anonymous.client.get("/api/v1/users/me")
    assert answer.json is not None
    assert answer.json["request_id"] == id_of(answer)
    assert "GET /api/v1/users/me" in as_dana.get(f"/admin/audit?request={answer.json['request_id']}").text


def test_no_secret_of_a_link_is_kept(anonymous: Browser, redis: Redis) -> None:
    for path in (f"/links/{SECRET}", f"/nowhere/{SECRET}/x", "/" + "a/" * 400):
        id_of(anonymous.get(path))
    kept = b"".join(redis.hvals(failed_requests.ASKED_KEY))  # type: ignore[arg-type]
    assert b"/links/[masked]" in kept
    assert SECRET.encode() not in kept
    assert len(max(redis.hvals(failed_requests.ASKED_KEY), key=len)) < 1000  # type: ignore[arg-type]


def test_successful_requests_are_not_stored(anonymous: Browser, redis: Redis) -> None:
    id_of(anonymous.get("/"))
    id_of(anonymous.get("/static/css/none.css"))
    assert not redis.exists(failed_requests.ASKED_KEY)


def test_only_so_many_are_kept_and_none_for_ever(redis: Redis) -> None:
    add = redis.register_script(failed_requests.ADD)
    for start in range(0, failed_requests.KEPT + 2000, 2000):
        lines = [part for number in range(start, start + 2000) for part in (f"id-{number}", "{}")]
        add([failed_requests.ASKED_KEY, failed_requests.ORDER_KEY], lines)
    assert redis.hlen(failed_requests.ASKED_KEY) == redis.llen(failed_requests.ORDER_KEY) == failed_requests.KEPT
    assert not redis.hexists(failed_requests.ASKED_KEY, "id-1999")
    assert redis.hexists(failed_requests.ASKED_KEY, f"id-{failed_requests.KEPT + 1999}")
    assert 0 < redis.ttl(failed_requests.ASKED_KEY) <= failed_requests.SECONDS  # type: ignore[operator]


@pytest.mark.parametrize("line", [None, b"", b"[]", b"{}", json.dumps({"at": 1}).encode()])
def test_unreadable_records_are_ignored(line: bytes | None) -> None:
    assert failed_requests.decode(line) is None


def test_a_redis_that_does_not_respond_does_not_affect_responses(
    as_dana: Browser, anonymous: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_requests, "redis", lambda: Redis.from_url("redis://127.0.0.1:1"))
    answer = anonymous.get("/nowhere")
    assert answer.status_code == 404
    assert as_dana.get(f"/admin/audit?request={id_of(answer)}").status_code == 200

"""Rate limits of the API: headers, exemption of admins, and limits while Redis is down."""

from flask import Flask
from redis import Redis
from sqlalchemy.orm import Session

from models.config.settings import Settings
from portal import create_app
from tests.portal.api.conftest import Program, told

FEW = 3


def limited(settings: Settings, **changes: str) -> Settings:
    """Return the settings with a small limit, and optionally another Redis."""
    limits = settings.limits.model_copy(update={"api_per_minute": FEW})
    redis = settings.redis.model_copy(update=changes)
    return settings.model_copy(update={"limits": limits, "redis": redis})


def test_every_response_has_the_remaining_quota_and_a_rejected_request_has_retry_after(
    alices: Program, app: Flask, settings: Settings, redis: Redis
) -> None:
    caller = Program(create_app(limited(settings)).test_client(), **alices.headers)
    for left in (2, 1, 0):
        answer = caller.get("/currency/balance")
        told(answer, 200)
        assert answer.headers["RateLimit-Limit"] == "3"
        assert answer.headers["RateLimit-Remaining"] == str(left)
        assert 58 <= int(answer.headers["RateLimit-Reset"]) <= 60
    answer = caller.post("/tokens/purchase", {"duration_hours": 1, "scope": "full"})
    assert told(answer, 429)["detail"] == "Too many attempts. Please try again later."
    assert 58 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["RateLimit-Remaining"] == "0"


def test_each_user_has_their_own_limit_and_admins_have_none(
    alices: Program, charlies: Program, danas: Program, app: Flask, settings: Settings
) -> None:
    client = create_app(limited(settings)).test_client()
    callers = [Program(client, **caller.headers) for caller in (alices, charlies, danas)]
    statuses = [[caller.get("/users/me").status_code for _ in range(FEW + 1)] for caller in callers]
    assert statuses == [[200, 200, 200, 429], [200, 200, 200, 429], [200, 200, 200, 200]]


def test_requests_without_credentials_are_not_counted(nobody: Program, redis: Redis) -> None:
    for _ in range(3):
        told(nobody.get("/users/me"), 403)
    assert list(redis.scan_iter("zenzefi:limit*")) == []


def test_while_redis_is_down_each_process_enforces_its_share_of_the_limit(
    alices: Program, app: Flask, settings: Settings, session: Session
) -> None:
    away = limited(settings, url="redis://127.0.0.1:1/0")
    shared = away.model_copy(update={"portal": away.portal.model_copy(update={"processes": 3})})
    caller = Program(create_app(shared).test_client(), **alices.headers)
    told(caller.get("/currency/balance"), 200)
    answer = caller.get("/currency/balance")
    told(answer, 429)
    assert 55 <= int(answer.headers["Retry-After"]) <= 60

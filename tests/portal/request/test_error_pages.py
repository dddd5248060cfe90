"""Pages for what went wrong: short, kind, with a way on and the request's id."""

import json
import logging
import re
import socket
import time
import uuid
from typing import Any

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.database import Sessions
from models.services.audit import log as audit_log
from models.services.ledger import transfers
from models.services.monitoring import failed_requests
from models.users import User
from portal import create_app
from portal.extensions import db
from portal.views.public import health
from tests.conftest import PASSWORD
from tests.factories import balance, person
from tests.portal.conftest import Browser


def test_an_unknown_address_is_a_page_with_links_and_the_request_id(anonymous: Browser) -> None:
    answer = anonymous.get("/nothing/here")
    assert answer.status_code == 404
    assert 'href="/"' in answer.text
    assert answer.headers["X-Request-ID"] in answer.text


def test_under_the_api_an_error_is_json(anonymous: Browser) -> None:
    answer = anonymous.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer.json == {
        "detail": "The address may be mistyped, or the page may belong to another user.",
        "code": "not_found",
        "request_id": answer.headers["X-Request-ID"],
    }


def test_a_wrong_method_is_405_with_the_allowed_ones(anonymous: Browser) -> None:
    answer = anonymous.client.post("/robots.txt", data={"csrf_token": anonymous.csrf_token()})
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_api_errors_do_not_mention_pages_or_buttons(anonymous: Browser) -> None:
    answer = anonymous.client.put("/api/v1/users/me")
    assert answer.status_code == 405
    assert answer.json is not None
    assert answer.json["detail"] == "This address does not take this method; the header Allow says which ones it takes."
    assert "PATCH" in answer.headers["Allow"]


def test_an_expired_form_links_to_itself(app: Flask) -> None:
    browser = Browser(app.test_client())
    page = "/tokens/buy?duration_hours=12&name=travel"
    refused = browser.client.post("/tokens/buy", headers={"Referer": f"http://localhost{page}"})
    assert refused.status_code == 400
    link = re.search(r'class="button button-main" href="([^"]+)"', refused.text)
    assert link is not None
    # A signed-out user continues there after the login.
    assert link[1].replace("&amp;", "&") == page
    assert "/login?next=" in browser.get(page).location
    for elsewhere in (
        "https://evil.example/tokens/buy",
        "http://localhost//evil.example",
        "javascript:alert(1)",
        "http://[",
        "",
    ):
        answer = browser.client.post("/tokens/buy", headers={"Referer": elsewhere})
        assert answer.status_code == 400
        assert "evil" not in answer.text
        assert "javascript" not in answer.text
        assert "Reopen the form" not in answer.text


def test_a_large_form_is_413(as_alice: Browser) -> None:
    answer = as_alice.client.post("/tokens/buy", data={"name": "x" * 300_000})
    assert answer.status_code == 413
    assert "Request too large" in answer.text


def test_a_nul_character_is_400(as_alice: Browser, as_dana: Browser) -> None:
    assert as_dana.get("/admin/users", query_string={"q": "a\0b"}).status_code == 400
    assert as_alice.post("/login", email="a\0b", password="x").status_code == 400


def test_an_unhandled_error_is_a_500_page_without_details(
    as_alice: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_arguments: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(transfers, "wallet_of", break_down)
    with caplog.at_level(logging.ERROR):
        answer = as_alice.get("/wallet")
    assert answer.status_code == 500
    assert "a secret detail" not in answer.text
    assert "Something went wrong" in answer.text
    assert answer.headers["X-Request-ID"] in answer.text
    assert answer.headers["X-Request-ID"] in caplog.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_after_an_error_in_a_purchase_nothing_of_it_is_left(
    as_alice: Browser, alice: User, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_arguments: object, **_more: object) -> None:
        raise RuntimeError

    form = {"duration_hours": "24", "scope": "full", "token_id": "7e1882e7-bca0-494b-b757-33cefa288bd8"}
    with monkeypatch.context() as broken:
        broken.setattr(audit_log, "record", break_down)
        assert as_alice.post("/tokens/buy", **form).status_code == 500
    assert balance(session, alice) == 100
    assert session.scalar(select(AccessToken.id)) is None
    assert as_alice.post("/tokens/buy", **form).status_code == 200


def test_with_the_database_down_pages_return_503_and_static_files_and_health_work(
    app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/none", connect_args={"connect_timeout": 1})
    browser = app.test_client()
    with browser.session_transaction() as session_:
        session_["_user_id"] = "7e1882e7-bca0-494b-b757-33cefa288bd8"
    monkeypatch.setattr(db, "session", scoped_session(sessionmaker(away)))
    answer = browser.get("/dashboard")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "127.0.0.1" not in answer.text
    assert browser.get("/static/css/tokens.css").status_code == 200
    assert browser.get("/nothing").status_code == 404
    monkeypatch.setattr(health, "_database_responds", lambda _engine: False)
    report = browser.get("/health")
    assert (report.status_code, report.json and report.json["status"]) == (200, "unhealthy")
    with pytest.raises(OperationalError):
        away.connect()


def test_health_is_always_200_and_names_its_parts(anonymous: Browser) -> None:
    answer = anonymous.get("/health")
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["status"] == "healthy"
    assert answer.json["checks"] == {"database": "up", "redis": "up", "upstream": "unknown"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer.json["timestamp"])
    assert "Set-Cookie" not in answer.headers


def test_health_reports_which_component_is_down(settings: Settings) -> None:
    redis = settings.redis.model_copy(update={"url": "redis://127.0.0.1:1/0"})
    database = settings.database.model_copy(update={"url": "postgresql+psycopg2://nobody@127.0.0.1:1/none"})
    broken = create_app(settings.model_copy(update={"redis": redis, "database": database}))
    answer = broken.test_client().get("/health")
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["status"] == "unhealthy"
    assert answer.json["checks"] == {"database": "down", "redis": "down", "upstream": "unknown"}


def test_health_does_not_wait_for_a_part_that_hangs(anonymous: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.0)
    answer = anonymous.get("/health")
    assert answer.json is not None
    assert answer.json["status"] in {"healthy", "unhealthy"}


def test_health_does_not_wait_for_a_database_that_accepts_and_hangs(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg2://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        database = settings.database.model_copy(update={"url": url})
        browser = create_app(settings.model_copy(update={"database": database})).test_client()
        began = time.monotonic()
        answer = browser.get("/health")
        # The desktop client's timeout is five seconds.
        assert time.monotonic() - began < 4
    assert answer.json is not None
    assert answer.json["checks"]["database"] == "down"


def test_a_database_that_goes_away_within_a_request_is_a_503_like_any_other(
    committed: tuple[Settings, Sessions], server: Engine, redis: Redis
) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    app = create_app(settings)
    browser = Browser(app.test_client())
    assert browser.log_in(alice).status_code == 303
    login = app.test_client().post("/api/v1/auth/login", json={"email": alice.email, "password": PASSWORD})
    bearer = {"Authorization": f"Bearer {login.get_json()['access_token']}"}
    csrf_token, name = browser.csrf_token(), make_url(settings.database.url).database

    def may_connect(*, may: bool) -> None:
        with server.connect() as connection:
            connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {may}'))
            if not may:
                ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
                connection.execute(text(ended), {"name": name})

    def go_away(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("INSERT INTO transfers"):
            may_connect(may=False)

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", go_away)
    page = browser.client.post(
        "/tokens/buy",
        data={"csrf_token": csrf_token, "duration_hours": "24", "scope": "full", "token_id": str(uuid.uuid4())},
    )
    may_connect(may=True)
    reply = app.test_client().post("/api/v1/tokens/purchase", json={"duration_hours": 24}, headers=bearer)
    may_connect(may=True)
    for answer in (page, reply):
        assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "30")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    page.close()
    found = json.loads(redis.hget(failed_requests.ASKED_KEY, page.headers["X-Request-ID"]) or "{}")  # type: ignore[arg-type]
    assert found["user_id"] == str(alice.id)


def test_what_a_request_changes_is_kept_though_its_connection_breaks_before_it(
    committed: tuple[Settings, Sessions], server: Engine, redis: Redis
) -> None:
    settings, factory = committed
    alice = person(factory, "alice")
    app = create_app(settings)
    browser = Browser(app.test_client())
    assert browser.log_in(alice).status_code == 303
    csrf_token, name = browser.csrf_token(), make_url(settings.database.url).database

    def cut(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if "FROM setting_changes" in statement:
            with server.connect() as connection:
                ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
                connection.execute(text(ended), {"name": name})

    app.extensions["zenzefi-runtime"].forget()
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", cut)
    # Who it is has been read when the settings are, and the settings of a moment ago are good enough.
    assert browser.client.post("/notifications", data={"csrf_token": csrf_token, "low_balance": "7"}).status_code == 303
    with factory.begin() as session:
        assert session.get_one(User, alice.id).low_balance_znc == 7

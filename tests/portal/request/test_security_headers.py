"""Hosts, cookies, headers, limits: what stands around every page."""

from datetime import timedelta

import pytest
from flask import Flask
from freezegun import freeze_time

from models.config.settings import Settings
from models.users import User
from portal import create_app
from portal.request import rate_limits
from tests.conftest import Clock
from tests.portal.conftest import Browser


@pytest.fixture
def production(settings: Settings, app: Flask) -> Flask:
    """The portal as it is in production, behind one reverse proxy."""
    portal = settings.portal.model_copy(update={"public_url": "https://shop.example", "trusted_proxies": 1})
    platform = settings.platform.model_copy(update={"environment": "production"})
    payments = settings.payments.model_copy(update={"providers": ()})
    changes = {"portal": portal, "platform": platform, "payments": payments}
    return create_app(settings.model_copy(update=changes))


def test_in_production_only_our_own_name_is_answered(production: Flask) -> None:
    client = production.test_client()
    for host, status in {
        "shop.example": 200,
        "shop.example:443": 200,
        "evil.example": 400,
        "": 400,
        "127.0.0.1": 400,
    }.items():
        assert (host, client.get("/", headers={"Host": host}).status_code) == (host, status)
    for page in ("/health", "/metrics"):  # the second one for the ops networks alone
        assert client.get(page, headers={"Host": "127.0.0.1:8000"}).status_code == 200
    forged = client.get("/", headers={"Host": "evil.example", "X-Forwarded-Host": "shop.example"})
    assert forged.status_code == 400


def test_in_production_cookies_are_host_bound_and_hsts_is_on(production: Flask) -> None:
    client = production.test_client()
    answer = client.get("/login", base_url="https://shop.example")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-zenzefi=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert client.get("/styleguide", base_url="https://shop.example").status_code == 404


def test_in_production_a_form_works_behind_a_proxy_that_ends_tls(production: Flask, alice: User) -> None:
    client = production.test_client()
    client.environ_base.update({"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_FOR": "203.0.113.9"})
    headers = {"Host": "shop.example", "Referer": "https://shop.example/login"}
    token = client.get("/", headers=headers).text.partition('name="csrf_token" value="')[2].partition('"')[0]
    fields = {"csrf_token": token, "email": alice.email, "password": "correct horse battery"}
    # The test client keeps Secure cookies for https addresses only.
    answer = client.post("/login", data=fields, headers=headers, base_url="https://shop.example")
    assert answer.status_code in {303, 400}
    foreign = client.post("/login", data=fields, headers={**headers, "Referer": "https://evil.example/"})
    assert foreign.status_code == 400


def test_the_session_cookie_holds_no_secret_and_is_hidden_from_scripts(as_alice: Browser) -> None:
    answer = as_alice.get("/login")
    with as_alice.client.session_transaction() as session_:
        assert set(session_) <= {"_user_id", "_fresh", "_id", "_permanent", "seen", "csrf_token", "_flashes"}
    cookie = as_alice.client.get_cookie("zenzefi")
    assert cookie is not None
    assert cookie.http_only
    assert cookie.same_site == "Lax"
    assert answer.status_code == 302


def test_a_login_expires_unless_it_is_used(
    app: Flask, settings: Settings, time: Clock, as_alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifetime = timedelta(hours=settings.portal.session_hours)
    as_alice.get("/dashboard")
    first = as_alice.session_cookie()
    with freeze_time(time()) as frozen:

        def later(**delta: float) -> None:
            time.advance(**delta)
            frozen.move_to(time())

        later(minutes=4)
        assert as_alice.get("/dashboard").status_code == 200
        assert as_alice.session_cookie() == first
        later(hours=settings.portal.session_hours - 2)
        assert as_alice.get("/dashboard").status_code == 200
        renewed = as_alice.session_cookie()
        assert renewed != first
        later(hours=3)
        assert as_alice.get("/dashboard").status_code == 200
        later(seconds=lifetime.total_seconds() + 1)
        as_alice.client.set_cookie("zenzefi", renewed)
        assert as_alice.get("/dashboard").status_code == 302


def test_only_a_page_that_changes_the_session_sends_its_cookie(as_alice: Browser) -> None:
    as_alice.get("/dashboard")
    for path in ("/dashboard", "/static/css/tokens.css", "/health"):
        assert "Set-Cookie" not in as_alice.get(path).headers


def test_a_request_id_is_taken_from_a_trusted_proxy_only(production: Flask, anonymous: Browser) -> None:
    given = {"X-Request-ID": "0123456789abcdef", "Host": "shop.example"}
    client = production.test_client()
    assert client.get("/", headers=given).headers["X-Request-ID"] == "0123456789abcdef"
    bad = {**given, "X-Request-ID": "<script>"}
    assert "<" not in client.get("/", headers=bad).headers["X-Request-ID"]
    assert anonymous.get("/", headers=given).headers["X-Request-ID"] != "0123456789abcdef"


def test_a_double_slash_is_neither_merged_nor_redirected(anonymous: Browser) -> None:
    answer = anonymous.get("/x", environ_overrides={"PATH_INFO": "//evil.example/admin"})
    assert answer.status_code == 404
    assert "Location" not in answer.headers
    alias = anonymous.get("/x", environ_overrides={"PATH_INFO": "//health"})
    assert alias.json is not None
    assert alias.json["status"] == "healthy"


def test_static_files_may_be_kept_and_carry_their_version(anonymous: Browser) -> None:
    page = anonymous.get("/").text
    address = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    assert "?v=" in address
    answer = anonymous.get(address)
    assert answer.headers["Cache-Control"] == "public, max-age=31536000"


def test_theme_and_language_are_kept_in_cookies_that_scripts_cannot_read(anonymous: Browser) -> None:
    answer = anonymous.post("/preferences", theme="dark", lang="ru", next="/login")
    assert (answer.status_code, answer.location) == (303, "/login")
    assert all("HttpOnly" in cookie for cookie in answer.headers.getlist("Set-Cookie"))
    page = anonymous.get("/login").text
    assert '<html lang="ru" data-theme="dark">' in page
    anonymous.post("/preferences", theme="pink", lang="xx")
    assert '<html lang="ru" data-theme="dark">' in anonymous.get("/login").text


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1%eth0", "2001:db8:1:2::/64"),
        ("", "unknown"),
        (None, "unknown"),
        ("unix:", "unknown"),
    ],
)
def test_one_ipv6_household_is_one_address(address: str | None, network: str) -> None:
    assert rate_limits.network_of(address) == network

"""What no page or form of ours ever sends, and what somebody may send all the same: each is answered, none breaks."""

import re
import uuid

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.bundles import Bundle
from models.config.settings import Settings
from models.users import User
from tests.factories import buy
from tests.portal.conftest import Browser

# What Flask's url_for takes for something else than a part of the query.
NAMES = ("endpoint", "_method", "_scheme", "_anchor", "_external")


@pytest.mark.parametrize("name", NAMES)
def test_query_parameters_do_not_change_the_targets_of_links(as_dana: Browser, name: str) -> None:
    for path in ("/wallet", "/usage", "/admin/users", "/admin/tokens", "/admin/audit", "/admin/inspections"):
        answer = as_dana.get(path, query_string={"_external": "1", name: "javascript"})
        assert answer.status_code == 200
        links = re.findall(r'href="([^"]*javascript[^"]*)"', answer.text)
        assert links
        assert all(link.startswith(f"{path}?") for link in links)


@pytest.mark.parametrize("path", ["http://[", "http://[::1", "https://]/x", "http://a\u2100b/x", "http://", "//", "\\"])
def test_the_request_test_accepts_malformed_addresses(
    as_alice: Browser, alice: User, session: Session, settings: Settings, path: str
) -> None:
    token = buy(session, alice, settings)
    session.commit()
    assert as_alice.get(f"/tokens/{token.id}/try", query_string={"path": path}).status_code == 200


@pytest.mark.parametrize("shown", ["24=sNaN", "24=NaN", "24=1e999999999", "24=-Infinity", "24==", "=24"])
def test_a_malformed_displayed_price_counts_as_not_shown(as_alice: Browser, shown: str) -> None:
    facts = {"duration_hours": "24", "scope": "full", "token_id": str(uuid.uuid4())}
    assert as_alice.post("/tokens/buy", **facts, shown=shown).status_code == 200


@pytest.mark.parametrize("month", ["0000-00", "9999-12", "0001-01", "2026-13", "999912", "x"])
def test_a_month_that_has_no_end_has_no_statement(as_alice: Browser, month: str) -> None:
    for kind in ("", "/csv", "/pdf"):
        assert as_alice.get(f"/wallet/statements/{month}{kind}").status_code == 404


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_first_and_the_last_day_there_is_can_be_reconciled(as_dana: Browser, day: str) -> None:
    for kind in ("", "/csv"):
        answer = as_dana.get(f"/admin/reconciliation{kind}", query_string={"first": day, "last": day})
        assert answer.status_code == 200


def test_a_coupon_that_grows_in_upper_case_is_rejected(as_dana: Browser) -> None:
    answer = as_dana.post("/admin/coupons/new", code="ß" * 20, percent="10")
    assert answer.status_code == 400
    assert "Use at most 32 characters." in answer.text


def test_a_form_may_lack_what_may_be_empty(as_dana: Browser, session: Session) -> None:
    facts = {"name": "Trio", "token_count": "3", "duration_hours": "24", "scope": "full", "discount_percent": "5"}
    assert as_dana.post("/admin/bundles/new", **facts).status_code == 303
    assert session.scalars(select(Bundle.description).where(Bundle.name == "Trio")).one() == ""


@pytest.mark.parametrize("job", ["", "no id", "a" * 200, "../x"])
def test_an_unknown_job_cannot_be_retried(as_dana: Browser, job: str) -> None:
    for act in ("again", "remove"):
        assert as_dana.post(f"/admin/jobs/{act}", job=job).status_code == 303
        assert as_dana.flashes("/admin/jobs") == "This job no longer exists."


@pytest.mark.parametrize("path", ["auth/login", "auth/register", "webhooks/payment", "webhooks/payment/stripe"])
@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' * 12_000, b'{"email": ' + b"1" * 5000 + b"}"])
def test_deeply_nested_json_is_not_an_internal_error(app: Flask, path: str, body: bytes) -> None:
    answer = app.test_client().post(f"/api/v1/{path}", data=body, content_type="application/json")
    assert answer.status_code in {400, 404, 422}

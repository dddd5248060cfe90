"""Changing the text of any message or translation changes no decision of a page or of the API.

docs/spec/invariants.md#39-messages-are-only-text
"""

import re
import uuid
from collections.abc import Callable

import pytest
from babel.support import NullTranslations
from werkzeug.test import TestResponse

from models.users import User
from portal.i18n import PoDomain
from tests.abuse.test_messages import NONSENSE, TABLES
from tests.conftest import PASSWORD
from tests.portal.api.conftest import Program
from tests.portal.conftest import Browser

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BUY = {"duration_hours": "720", "scope": "full"}
REGISTRATION = {"email": "eve@example.test", "username": "eve", "password": "a long password"}


class NonsenseTranslations(NullTranslations):
    """A language in which every message is the same."""

    def gettext(self, message: str) -> str:
        return NONSENSE

    def ngettext(self, singular: str, plural: str, num: int) -> str:
        return NONSENSE

    ugettext, ungettext = gettext, ngettext


def page_result(browser: Browser, path: str, **fields: str) -> tuple[object, ...]:
    """Submit a form and return status, target, classes of messages, and fields with errors, on the page shown next."""
    answer = browser.post(path, **fields)
    page = browser.get(answer.location) if answer.status_code == 303 else answer
    return (
        UUID.sub("id", path),
        answer.status_code,
        UUID.sub("id", answer.location or ""),
        re.findall(r'class="alert alert-(\w+)"', page.text),
        re.findall(r'id="([\w-]+)-error"', page.text),
    )


def api_result(answer: TestResponse) -> tuple[object, ...]:
    """Return status and codes of an API response."""
    body = answer.json or {}
    details = body.get("detail")
    codes = [detail["code"] for detail in details] if isinstance(details, list) else []
    return UUID.sub("id", answer.request.path), answer.status_code, body.get("code"), codes


def submit_forms(visitor: Browser, alice: Browser, admin: Browser, users: dict[str, User]) -> list[object]:
    """Submit forms that are refused or accepted, and return the results."""
    token_id, adjustment = str(uuid.uuid4()), {"amount": "1", "reason": "Goodwill", "key": str(uuid.uuid4())}
    owner, own = f"/admin/users/{users['alice'].id}", f"/admin/users/{users['dana'].id}"
    return [
        page_result(visitor, "/login", email=users["alice"].email, password="a wrong password"),
        page_result(visitor, "/register", **{**REGISTRATION, "username": "alice", "password": "short"}),
        page_result(visitor, "/wallet/top-up", amount="10"),
        page_result(alice, "/wallet/top-up", amount="200000"),
        page_result(alice, "/wallet/top-up", amount="ten"),
        page_result(alice, "/wallet/gift", code="NO-SUCH-CODE"),
        page_result(alice, "/tokens/buy", **BUY, token_id=token_id),
        page_result(alice, "/tokens/buy", **{**BUY, "duration_hours": "1", "coupon": "NONE"}, token_id=token_id),
        page_result(alice, "/tokens/buy", **{**BUY, "scope": "none"}, token_id=token_id),
        page_result(alice, "/profile/password", current_password="wrong", new_password=PASSWORD, repeated=PASSWORD),
        page_result(alice, "/profile/time-zone", time_zone="Nowhere/None"),
        page_result(alice, "/profile/keys", name="", scope="admin", days="5000"),
        page_result(alice, "/webhooks", url="ftp://example.org", topic="bonus", endpoint_id=str(uuid.uuid4())),
        page_result(alice, f"/tokens/{uuid.uuid4()}/revoke"),
        page_result(alice, "/admin/verify"),
        page_result(admin, f"{owner}/adjust", **adjustment),
        page_result(admin, f"{owner}/adjust", **adjustment),
        page_result(admin, f"{owner}/adjust", **{**adjustment, "amount": "1e3"}),
        page_result(admin, f"{owner}/notes", text=""),
        page_result(admin, f"{own}/superuser", on="0"),
        page_result(admin, "/admin/coupons/new", code="A", percent="10", amount="5"),
        page_result(admin, "/admin/verify"),
    ]


def call_api(nobody: Program, alices: Program, danas: Program, users: dict[str, User]) -> list[object]:
    """Call endpoints that refuse, and return the results."""
    answers = [
        nobody.get("/users/me"),
        nobody.post("/auth/login", {"email": users["alice"].email, "password": "a wrong password"}),
        nobody.post("/auth/register", {**REGISTRATION, "email": users["alice"].email}),
        nobody.post("/auth/register", {**REGISTRATION, "password": "password"}),
        alices.get("/admin/users"),
        alices.post("/tokens/purchase", {"duration_hours": 720, "scope": "full"}),
        alices.post("/tokens/purchase", {"duration_hours": 5, "scope": "full"}),
        alices.post("/tokens/purchase", {"duration_hours": 0, "scope": "full"}),
        alices.post(f"/bundles/{uuid.uuid4()}/purchase"),
        alices.post("/currency/purchase", {"amount": "200000", "provider": "mock", "return_url": "/wallet"}),
        alices.patch("/users/me", {"password": "another long one", "current_password": "wrong"}),
        danas.patch(f"/admin/users/{users['dana'].id}", {"is_superuser": False}),
        danas.patch(f"/admin/users/{uuid.uuid4()}", {"is_active": True}),
    ]
    return [api_result(answer) for answer in answers]


def test_39_replacing_every_message_and_translation_changes_no_status_code_or_message_class(
    *,
    anonymous: Browser,
    as_alice: Browser,
    as_dana: Browser,
    nobody: Program,
    alices: Program,
    danas: Program,
    alice: User,
    dana: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = {"alice": alice, "dana": dana}
    flows: list[Callable[[], list[object]]] = [
        lambda: submit_forms(anonymous, as_alice, as_dana, users),
        lambda: call_api(nobody, alices, danas, users),
    ]
    before = [result for flow in flows for result in flow()]
    for texts in TABLES.values():
        for code in texts:
            monkeypatch.setitem(texts, code, NONSENSE)
    monkeypatch.setattr(PoDomain, "get_translations", lambda _self: NonsenseTranslations())
    assert NONSENSE.replace("%%", "%") in anonymous.get("/login").text
    after = [result for flow in flows for result in flow()]
    assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == []

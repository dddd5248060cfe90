"""Bundles through the API."""

import uuid

import pytest
from sqlalchemy.orm import Session

from models.bundles import Bundle
from models.config.settings import Settings
from models.services.actor import PLATFORM
from models.services.crypto import secrets
from models.services.settings import overrides
from models.users import User
from tests.factories import balance
from tests.portal.api.conftest import API, Program, told

OFFER = {"name": "Trio", "token_count": 3, "duration_hours": 12, "scope": "full", "discount_percent": "10"}


def named(caller: Program, name: str) -> dict[str, str]:
    found: dict[str, str] = next(each for each in told(caller.get("/bundles/"), 200)["items"] if each["name"] == name)
    return found


def test_the_default_bundles_cost_what_the_contract_says(alices: Program) -> None:
    page = told(alices.get("/bundles/"), 200)
    assert {each["name"]: (each["base_price"], each["total_price"]) for each in page["items"]} == {
        "Starter": ("90.00", "81.00"),
        "Pro": ("180.00", "153.00"),
        "Ultimate": ("2000.00", "1600.00"),
        "Certificates": ("180.00", "153.00"),
    }
    starter = named(alices, "Starter")
    assert (starter["savings"], starter["price_per_token"], starter["discount_percent"]) == ("9.00", "16.20", "10.00")
    assert told(alices.get(f"/bundles/{starter['id']}"), 200) == starter


def test_a_purchase_shows_every_secret_once(alices: Program, session: Session, alice: User, settings: Settings) -> None:
    starter = named(alices, "Starter")
    sold = told(alices.post(f"/bundles/{starter['id']}/purchase"), 200)
    assert {name: sold[name] for name in sold if name != "tokens"} == {
        "bundle_name": "Starter",
        "tokens_generated": 5,
        "cost_znc": "81.00",
        "new_balance": "19.00",
    }
    assert all(secrets.is_genuine(settings.tokens, each["token"]) for each in sold["tokens"])
    assert len({each["token"] for each in sold["tokens"]}) == 5
    assert balance(session, alice) == 19
    told(alices.post(f"/bundles/{starter['id']}/purchase"), 402)
    told(alices.post(f"/bundles/{uuid.uuid4()}/purchase"), 404)


def test_a_bundle_with_the_longest_name_can_be_bought(danas: Program, alices: Program) -> None:
    made = told(danas.post("/bundles/", {**OFFER, "name": "N" * 50}), 201)
    sold = told(alices.post(f"/bundles/{made['id']}/purchase"), 200)
    assert [each["name"] for each in sold["tokens"]] == [f"{'N' * 48} {number}" for number in (1, 2, 3)]


def test_an_admin_offers_changes_and_withdraws_a_bundle(danas: Program, alices: Program) -> None:
    made = told(danas.post("/bundles/", OFFER), 201)
    assert (made["base_price"], made["total_price"], made["is_active"]) == ("30.00", "27.00", True)
    path = f"/bundles/{made['id']}"
    changed = told(danas.patch(path, {"discount_percent": 20, "name": "Trio+"}), 200)
    assert (changed["name"], changed["total_price"], changed["token_count"]) == ("Trio+", "24.00", 3)
    answer = danas.delete(path)
    assert (answer.status_code, answer.data) == (204, b"")
    told(alices.get(path), 404)
    told(alices.post(f"{path}/purchase"), 404)
    assert told(danas.patch(path, {"is_active": True}), 200)["is_active"] is True
    told(alices.get(path), 200)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"token_count": 1}, 422),
        ({"token_count": 101}, 422),
        ({"discount_percent": "NaN"}, 422),
        ({"discount_percent": "90.01"}, 422),
        ({"discount_percent": -1}, 422),
        ({"discount_percent": "1_0"}, 422),
        ({"name": ""}, 422),
        ({"name": "two\nlines"}, 422),
        ({"duration_hours": 5}, 400),
        ({"scope": "everything"}, 400),
    ],
)
def test_an_invalid_bundle_is_refused(danas: Program, change: dict[str, object], status: int) -> None:
    told(danas.post("/bundles/", {**OFFER, **change}), status)
    told(danas.patch(f"/bundles/{named(danas, 'Starter')['id']}", change), status)
    assert told(danas.get("/bundles/"), 200)["total"] == 4


def test_a_change_to_a_bundle_without_a_valid_price_is_refused_as_a_whole(
    danas: Program, session: Session, settings: Settings
) -> None:
    starter = named(danas, "Starter")
    facts = {"reason": "for a test", "seen": 0, "actor": PLATFORM}
    overrides.change(session, settings, "prices.znc", value={"1": "5"}, **facts)
    session.commit()
    danas.client.application.extensions["zenzefi-runtime"].forget()
    told(danas.patch(f"/bundles/{starter['id']}", {"is_active": False}), 400)
    session.expire_all()
    assert session.get_one(Bundle, uuid.UUID(starter["id"])).is_active
    assert danas.delete(f"/bundles/{starter['id']}").status_code == 204


def test_a_bundle_is_bought_without_a_body(alices: Program, session: Session, alice: User) -> None:
    bought = alices.client.post(f"{API}/bundles/{named(alices, 'Starter')['id']}/purchase", headers=alices.headers)
    assert told(bought, 200)["cost_znc"] == "81.00"
    assert balance(session, alice) == 19


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", '{"coupon": "SPRING"'),
        ("application/json", "[" * 100_000),
        ("text/plain", '{"coupon": "SPRING"}'),
        ("application/x-www-form-urlencoded", "coupon=SPRING"),
    ],
)
def test_an_unreadable_body_buys_nothing_and_differs_from_a_missing_one(
    alices: Program, session: Session, alice: User, kind: str, content: str
) -> None:
    path = f"{API}/bundles/{named(alices, 'Starter')['id']}/purchase"
    answer = alices.client.post(path, data=content, content_type=kind, headers=alices.headers)
    hint = "This is not JSON" if "json" in kind else "Send JSON, with the header Content-Type: application/json"
    fault = {"loc": ["body"], "msg": hint, "type": "json_invalid", "code": "json_invalid"}
    assert told(answer, 422) == {"detail": [fault], "code": "invalid_request"}
    assert balance(session, alice) == 100

"""Bundles, coupons, gift codes and invitations in the shop, and how admins make them."""

import html
import re
import uuid
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken
from models.bundles import Bundle
from models.config.settings import Settings
from models.coupons import Coupon
from models.gift_codes import GiftCode
from models.services.actor import Actor
from models.services.promotions import gift_codes
from models.users import User
from tests.conftest import PASSWORD
from tests.factories import balance, buy
from tests.models.services.tokens.test_bundles_and_coupons import bundle_named, coupon, gift
from tests.portal.conftest import Browser, attribute, text_of
from tests.portal.views.shop.test_tokens import order


def test_a_bundle_is_bought_once_and_its_secrets_are_shown_once(
    as_alice: Browser, alice: User, session: Session
) -> None:
    bundle = bundle_named(session)
    assert f"/bundles/{bundle.id}" in as_alice.get("/bundles").text
    form = as_alice.get(f"/bundles/{bundle.id}")
    assert attribute(form, "bundle-price", "data-amount") == "81.00"
    purchase_id = str(uuid.uuid4())
    answer = as_alice.post(f"/bundles/{bundle.id}", purchase_id=purchase_id, coupon="")
    assert answer.headers["Cache-Control"] == "no-store"
    shown = re.findall(r'data-line="(Starter \d): ([^"]+)"', answer.text)
    names = [f"Starter {number}" for number in range(1, 6)]
    # Each secret stands beside the name of its token, in the order in which the list has them, too.
    assert [name for name, _secret in shown] == names
    secrets = dict(shown)
    for token in session.scalars(select(AccessToken)):
        assert secrets[token.name].startswith(token.prefix)
    assert re.findall(r">(Starter \d)<", as_alice.get("/tokens").text) == names
    again = as_alice.post(f"/bundles/{bundle.id}", purchase_id=purchase_id, coupon="")
    assert again.status_code == 303
    assert "was not charged twice" in as_alice.flashes()
    assert (balance(session, alice), session.scalar(select(func.count()).select_from(AccessToken))) == (19, 5)
    assert "Bundle Starter" in as_alice.get("/wallet").text


def test_a_bundle_may_be_named_like_an_extension(as_alice: Browser, session: Session) -> None:
    bundle = bundle_named(session)
    bundle.name = "Pack with 24 h more for token fans"
    session.commit()
    assert as_alice.post(f"/bundles/{bundle.id}", purchase_id=str(uuid.uuid4()), coupon="").status_code == 200
    assert "Bundle Pack with 24 h more for token fans" in as_alice.get("/wallet").text


def test_a_buyer_short_of_money_for_a_bundle_is_led_to_a_top_up_and_back(as_charlie: Browser, session: Session) -> None:
    bundle = bundle_named(session)
    answer = as_charlie.post(f"/bundles/{bundle.id}", purchase_id=str(uuid.uuid4()), coupon="")
    assert answer.status_code == 402
    link = re.search(r'href="([^"]+)" data-testid="top-up-link"', answer.text)
    assert link is not None
    assert f"/bundles/{bundle.id}" in as_charlie.get(link[1].replace("&amp;", "&")).text
    assert as_charlie.post(f"/bundles/{bundle.id}", purchase_id="none").status_code == 400


def test_a_coupon_reduces_the_price_and_a_wrong_one_is_an_error_of_its_field(
    as_alice: Browser, alice: User, dana: User, session: Session
) -> None:
    coupon(session, dana)
    session.commit()
    wrong = as_alice.post("/tokens/buy", **order(coupon="AUTUMN"))
    assert wrong.status_code == 400
    assert "Coupon not found." in text_of(wrong, "field-error")
    for path in ("/tokens/buy", f"/bundles/{bundle_named(session).id}"):
        guess = as_alice.post(path, **order(coupon="AUTUMN", purchase_id=str(uuid.uuid4()), quote="1"))
        assert "Coupon not found." in text_of(guess, "field-error")
        asked = as_alice.post(path, **order(coupon="spring", purchase_id=str(uuid.uuid4()), quote="1"))
        assert asked.status_code == 200
        assert ("16.20" if path == "/tokens/buy" else "72.90") in asked.text
        assert "instead of" in asked.text
    # A look at the price buys nothing and uses nothing up.
    assert balance(session, alice) == 100
    assert as_alice.post("/tokens/buy", **order(coupon="spring")).status_code == 200
    assert balance(session, alice) == Decimal("83.80")
    bad = as_alice.post(f"/bundles/{bundle_named(session).id}", purchase_id=str(uuid.uuid4()), coupon="SPRING")
    assert "usage limit" in text_of(bad, "field-error")


def test_a_gift_code_is_redeemed_and_guessing_is_stopped(
    as_charlie: Browser, charlie: User, dana: User, session: Session, settings: Settings
) -> None:
    code = gift(session, dana, settings)
    session.commit()
    as_charlie.post("/wallet/gift", code=code)
    assert "25.00 ZNC were credited to your wallet." in as_charlie.flashes()
    assert balance(session, charlie) == 25
    assert f"Gift code {code[:4]}…" in as_charlie.get("/wallet").text
    for _ in range(9):
        wrong = as_charlie.post("/wallet/gift", code="AAAA-AAAA-AAAA-AAAA")
    assert (wrong.status_code, text_of(wrong, "field-error")) == (400, "Gift code not found.")
    assert re.search(r'aria-describedby="code-error"[^>]*value="AAAA-AAAA-AAAA-AAAA"', wrong.text)
    assert 'id="amount" inputmode' in wrong.text
    assert "This field is required." in text_of(as_charlie.post("/wallet/gift"), "field-error")
    answer = as_charlie.post("/wallet/gift", code="AAAA-AAAA-AAAA-AAAA")
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_a_referral_shows_its_bonus_without_the_name_of_the_referred_user(
    *, anonymous: Browser, as_charlie: Browser, charlie: User, session: Session, settings: Settings
) -> None:
    page = as_charlie.get("/invite")
    link = re.search(r'data-testid="invite-link"[^>]*>([^<]+)<', page.text)
    assert link is not None
    form = anonymous.get(link[1].removeprefix(settings.portal.address))
    assert f'value="{charlie.referral_code}"' in form.text
    fields = {"email": "frank@example.test", "username": "franklin", "password": PASSWORD}
    wrong = anonymous.post("/register", **fields, referral_code="NOBODYHASIT0")
    assert "Referral code not found." in text_of(wrong, "field-error")
    assert anonymous.post("/register", **fields, referral_code=charlie.referral_code).status_code == 303
    frank = session.scalars(select(User).where(User.username == "franklin")).one()
    assert frank.referrer_id == charlie.id
    page = as_charlie.get("/invite")
    assert "franklin" not in page.text
    assert "frank@example.test" not in page.text
    assert re.search(r'data-testid="invited">1<', page.text)


def test_an_admin_makes_changes_and_withdraws_a_bundle(as_dana: Browser, session: Session) -> None:
    facts = {"name": "Trio", "description": "", "token_count": "3", "duration_hours": "1", "scope": "full"}
    assert as_dana.post("/admin/bundles/new", **facts, discount_percent="33.33").status_code == 303
    made = session.scalars(select(Bundle).where(Bundle.name == "Trio")).one()
    path = f"/admin/bundles/{made.id}"
    assert 'value="Trio"' in as_dana.get(path).text
    bad = as_dana.post(path, **{**facts, "token_count": "1"}, discount_percent="10")
    assert (bad.status_code, "2 to 100" in bad.text) == (400, True)
    as_dana.post(path, **{**facts, "name": "Three"}, discount_percent="10")
    as_dana.post(f"{path}/active", active="0")
    session.refresh(made)
    assert (made.name, made.is_active) == ("Three", False)
    assert as_dana.get(f"/bundles/{made.id}").status_code == 404


def test_a_gift_code_redeemed_for_a_purchase_leads_back_to_it(
    as_charlie: Browser, session: Session, dana: User, settings: Settings
) -> None:
    page = as_charlie.get("/wallet?next=/tokens/new%3Fhours%3D24")
    action = html.unescape(re.search(r'action="(/wallet/gift[^"]*)"', page.text)[1])  # type: ignore[index]
    refused = as_charlie.post(action, code="AAAA-AAAA-AAAA-AAAA")
    assert 'value="/tokens/new?hours=24"' in refused.text
    code = gift(session, dana, settings)
    session.commit()
    redeemed = as_charlie.post(action, code=code)
    assert redeemed.headers["Location"] == "/tokens/new?hours=24"


def test_an_admin_makes_and_withdraws_coupons_and_gift_codes(as_dana: Browser, session: Session) -> None:
    assert as_dana.post("/admin/coupons/new", code="summer", percent="10", uses_per_user="1").status_code == 303
    bad = as_dana.post("/admin/coupons/new", code="winter", percent="10", amount="5")
    assert "either a percentage or an amount" in bad.text
    made = session.scalars(select(Coupon)).one()
    as_dana.post(f"/admin/coupons/{made.id}/active", active="0")
    session.refresh(made)
    assert not made.is_active
    facts = {
        "count": "3",
        "uses_each": "1",
        "note": "for the fair",
        "valid_until": "2030-01-31",
        "key": str(uuid.uuid4()),
    }
    answer = as_dana.post("/admin/gifts/new", amount="25", **facts)
    shown = re.search(r'data-testid="codes"[^>]*>([^<]+)<', answer.text)
    assert shown is not None
    assert len(shown[1].split()) == 3
    codes = session.scalars(select(GiftCode)).all()
    assert {str(code.valid_until) for code in codes} == {"2030-01-31 23:59:59.999999+00:00"}
    page = as_dana.get("/admin/offers").text
    assert shown[1].split()[0] not in page
    assert as_dana.post("/admin/gifts/new", **{**facts, "amount": "0"}).status_code == 400


def test_a_form_for_gift_codes_that_is_sent_twice_makes_them_once(as_dana: Browser, session: Session) -> None:
    found = re.search(r'name="key"[^>]*value="([^"]+)"', as_dana.get("/admin/gifts/new").text)
    assert found is not None
    facts = {"amount": "25", "count": "2", "uses_each": "1", "note": "for the fair", "key": found[1]}
    assert as_dana.post("/admin/gifts/new", **facts).status_code == 200
    for again in (facts, {**facts, "as": "csv"}, {**facts, "count": "3"}):
        assert as_dana.post("/admin/gifts/new", **again).location == "/admin/offers"
        assert "no more were added" in as_dana.flashes()
    assert session.scalar(select(func.count()).select_from(GiftCode)) == 2
    assert as_dana.post("/admin/gifts/new", **{**facts, "key": ""}).status_code == 400


def test_a_refused_code_is_explained_to_the_admin(
    as_dana: Browser, dana: User, charlie: User, session: Session, settings: Settings
) -> None:
    used = gift(session, dana, settings)
    gift(session, dana, settings, valid_until=clock.now() - timedelta(days=1))
    coupon(session, dana, "ONCE", uses_in_all=1)
    coupon(session, dana, "LATE").valid_until = clock.now() - timedelta(days=1)
    gift_codes.redeem(session, charlie, used, settings=settings, actor=Actor(charlie.id))
    session.commit()
    pills = re.findall(
        r'<tr data-(coupon|gift).*?class="pill[^>]*>([^<]+)<', as_dana.get("/admin/offers").text, re.DOTALL
    )
    assert sorted(pills) == [("coupon", "active"), ("coupon", "expired"), ("gift", "expired"), ("gift", "used up")]


def test_an_admin_ends_a_token_for_a_reason_without_a_refund(
    as_dana: Browser, alice: User, session: Session, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    session.commit()
    path = f"/admin/tokens/{token.id}/end"
    assert path in as_dana.get("/admin/tokens").text
    assert as_dana.post(path, reason="").status_code == 400
    assert as_dana.post(path, reason="shared in a forum").status_code == 303
    session.refresh(token)
    assert (token.refund_amount, balance(session, alice)) == (0, 82)
    as_dana.post(path, reason="once more")
    assert "This token is already revoked." in as_dana.flashes()

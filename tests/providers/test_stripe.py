"""Payments through Stripe: repeated, reordered and forged callbacks, refunds, disputes, a failing server."""

from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.config.settings import ConfigError, Settings, load_settings
from models.payments import Payment, PaymentEvent, PaymentFailure, PaymentStatus, ReversalState
from models.services.actor import Actor
from models.services.errors import CallbackRefused, NotFound, ProviderDown, ProviderRefused
from models.services.ledger import transfers
from models.services.payments import callbacks, providers, refunds, settlement, topups
from models.services.payments.providers import Callback, Event
from models.users import User
from tests.conftest import some_id
from tests.factories import REVIEW_RESULTS, balance
from tests.portal.conftest import Browser, Jobs
from tests.providers.fake_stripe import WEBHOOK_SECRET, StripeFarSide, signed

PATH = "/api/v1/webhooks/payment/stripe"


@pytest.fixture
def payment(session: Session, charlie: User, shop: Settings) -> Payment:
    """500 rubles for 50 ZNC, at Stripe's checkout."""
    facts = {"amount": Decimal(50), "provider": "stripe", "return_url": "http://shop/wallet", "settings": shop}
    started = topups.start(session, charlie, **facts, actor=Actor(charlie.id))  # type: ignore[arg-type]
    session.commit()
    return started


def told(session: Session, shop: Settings, event: dict[str, Any]) -> str | None:
    """Verify, store and settle a callback, as portal and job do."""
    body, headers = signed(event)
    word = providers.known("stripe", shop).verify(Callback(headers, body, clock.now()))
    if word is None:
        return None
    assert isinstance(word, Event)
    stored = callbacks.store_event(session, "stripe", word)
    return settlement.settle(session, stored) if stored else "known"


def test_a_payment_opens_one_checkout_however_often_it_is_started(
    *, session: Session, payment: Payment, shop: Settings, stripe_side: StripeFarSide
) -> None:
    again = providers.get("stripe", shop).create(session, payment)
    assert len(stripe_side.sessions) == 1
    [made] = stripe_side.sessions.values()
    assert (payment.provider_payment_id, payment.checkout_url) == (made["id"], again)
    assert (made["amount_total"], made["currency"], made["metadata"]) == (50000, "rub", {"payment_id": str(payment.id)})
    assert 30 * 60 <= made["expires_at"] - clock.now().timestamp() <= 24 * 3600


def test_a_paid_session_credits_once_whatever_number_and_order_of_events(
    *, session: Session, payment: Payment, charlie: User, shop: Settings, stripe_side: StripeFarSide
) -> None:
    name = str(payment.provider_payment_id)
    unpaid = stripe_side.event("checkout.session.completed", stripe_side.sessions[name])
    completed = stripe_side.pay(name)
    assert told(session, shop, unpaid) is None
    assert [told(session, shop, completed) for _ in range(2)] == ["credited", "known"]
    later = stripe_side.event("checkout.session.async_payment_succeeded", stripe_side.sessions[name])
    assert told(session, shop, later) == "payment_state"
    assert told(session, shop, stripe_side.event("customer.created", {"id": "cus_1"})) is None
    assert (balance(session, charlie), payment.provider_charge_id) == (50, f"pi_{name}")


def test_a_session_that_ends_unpaid_or_fails_cancels_the_payment(
    session: Session, payment: Payment, shop: Settings, stripe_side: StripeFarSide
) -> None:
    assert told(session, shop, stripe_side.expire(str(payment.provider_payment_id))) == "canceled"
    assert payment.status is PaymentStatus.CANCELED


def test_a_payment_without_callback_is_settled_by_a_query(
    *, session: Session, payment: Payment, charlie: User, shop: Settings, stripe_side: StripeFarSide
) -> None:
    name = str(payment.provider_payment_id)
    assert settlement.query_provider(session, payment.id, shop) is None
    stripe_side.pay(name)
    stripe_side.give_back(name, 10000)
    assert settlement.query_provider(session, payment.id, shop) == "refunded"
    assert settlement.query_provider(session, payment.id, shop) is None
    assert balance(session, charlie) == 40


def test_an_admins_refund_is_made_once_and_stripes_report_books_no_second_one(
    *, session: Session, payment: Payment, charlie: User, dana: User, shop: Settings, stripe_side: StripeFarSide
) -> None:
    told(session, shop, stripe_side.pay(str(payment.provider_payment_id)))
    facts = {"amount_rub": Decimal(200), "reason": "as agreed", "key": some_id(), "actor": Actor(dana.id)}
    reversal = refunds.request(session, payment.id, **facts)  # type: ignore[arg-type]
    stripe_side.failures = [500, 500, 500]
    with pytest.raises(ProviderDown):
        refunds.send(session, reversal.id, shop)
    assert refunds.send(session, reversal.id, shop) is ReversalState.DONE
    [made] = stripe_side.refunds.values()
    assert (made["amount"], made["metadata"]) == (20000, {"refund_key": str(reversal.id)})
    assert told(session, shop, stripe_side.event("refund.created", made)) == "refund_state"
    assert told(session, shop, stripe_side.event("refund.updated", made)) == "refund_state"
    assert balance(session, charlie) == 30
    # In Stripe's dashboard somebody gave back more than was left here: that is for a person.
    with pytest.raises(ProviderRefused, match="Greater"):
        providers.get("stripe", shop).refund(session, payment, Decimal(400), "another")


def test_an_existing_refund_is_searched_before_another_is_made(
    *, session: Session, payment: Payment, dana: User, shop: Settings, stripe_side: StripeFarSide
) -> None:
    # docs.stripe.com/api/idempotent_requests: keys are removed after a day, and then a new request is made.
    told(session, shop, stripe_side.pay(str(payment.provider_payment_id)))
    facts = {"amount_rub": Decimal(200), "reason": "as agreed", "key": some_id(), "actor": Actor(dana.id)}
    reversal = refunds.request(session, payment.id, **facts)  # type: ignore[arg-type]
    stripe_side.losses = 2
    with pytest.raises(ProviderDown):
        refunds.send(session, reversal.id, shop)
    stripe_side.forget_keys()
    assert refunds.send(session, reversal.id, shop) is ReversalState.DONE
    assert [made["id"] for made in stripe_side.refunds.values()] == [reversal.provider_key]


def test_a_pending_refund_stays_requested_until_stripe_carries_it_out(
    *, session: Session, payment: Payment, charlie: User, dana: User, shop: Settings, stripe_side: StripeFarSide
) -> None:
    # docs.stripe.com/refunds: without enough balance a refund is pending.
    told(session, shop, stripe_side.pay(str(payment.provider_payment_id)))
    facts = {"amount_rub": Decimal(200), "reason": "as agreed", "key": some_id(), "actor": Actor(dana.id)}
    reversal = refunds.request(session, payment.id, **facts)  # type: ignore[arg-type]
    stripe_side.refund_status = "pending"
    assert refunds.send(session, reversal.id, shop) is ReversalState.REQUESTED
    [made] = stripe_side.refunds.values()
    made["status"] = "failed"
    assert refunds.send(session, reversal.id, shop) is ReversalState.REFUSED
    assert balance(session, charlie) == 50


@pytest.mark.parametrize("kinds", [["funds_withdrawn"], ["created"], ["funds_withdrawn", "funds_reinstated"]])
def test_a_dispute_without_events_is_found_by_a_query(
    *, session: Session, payment: Payment, charlie: User, shop: Settings, stripe_side: StripeFarSide, kinds: list[str]
) -> None:
    name = str(payment.provider_payment_id)
    told(session, shop, stripe_side.pay(name))
    wanted = {"funds_withdrawn": ("disputed", 0), "created": (None, 50), "funds_reinstated": ("dispute_won", 50)}
    settlement.query_provider(session, payment.id, shop)
    for kind in kinds:
        stripe_side.dispute(name, 50000, kind)
        assert (settlement.query_provider(session, payment.id, shop), balance(session, charlie)) == wanted[kind]


@pytest.mark.parametrize("kind", ["refund.failed", "refund.updated"])
def test_a_refund_that_fails_later_credits_the_znc_once(
    *, session: Session, payment: Payment, charlie: User, shop: Settings, stripe_side: StripeFarSide, kind: str
) -> None:
    name = str(payment.provider_payment_id)
    told(session, shop, stripe_side.pay(name))
    assert told(session, shop, stripe_side.give_back(name, 50000)) == "refunded"
    assert (balance(session, charlie), payment.status) == (0, PaymentStatus.REFUNDED)
    [made] = stripe_side.refunds.values()
    failed = stripe_side.event(kind, {**made, "status": "failed"})
    assert told(session, shop, failed) == "refund_failed"
    assert (balance(session, charlie), payment.status, payment.returned_rub) == (50, PaymentStatus.SUCCEEDED, 0)
    again = stripe_side.event("refund.updated", {**made, "status": "failed"})
    assert told(session, shop, again) == "refund_state"
    # One that failed before it was done was never booked.
    other = stripe_side.event(kind, {**made, "id": "re_other", "status": "canceled"})
    assert told(session, shop, other) == "refund_state"
    assert balance(session, charlie) == 50


def test_a_dispute_leaves_a_debt_and_a_won_dispute_credits_the_znc_again(
    *, session: Session, payment: Payment, charlie: User, shop: Settings, stripe_side: StripeFarSide
) -> None:
    name = str(payment.provider_payment_id)
    told(session, shop, stripe_side.pay(name))
    inquiry = stripe_side.dispute(name, 50000, "created")
    assert told(session, shop, inquiry) is None
    assert told(session, shop, stripe_side.dispute(name, 50000)) == "disputed"
    assert (balance(session, charlie), transfers.debt_of(session, charlie.id)) == (0, 0)
    assert told(session, shop, stripe_side.dispute(name, 50000, "funds_reinstated")) == "dispute_won"
    assert balance(session, charlie) == 50


@pytest.mark.parametrize(
    ("secret", "age", "headers"),
    [
        ("whsec_another", 0, None),
        ("whsec_another", 0, {}),
        ("", 301, None),
        ("", -400, None),
        ("", 0, {"Stripe-Signature": "t=x,v1=y"}),
    ],
)
def test_a_callback_without_a_recent_stripe_signature_is_refused(
    *, payment: Payment, shop: Settings, stripe_side: StripeFarSide, secret: str, age: int, headers: Any
) -> None:
    event = stripe_side.pay(str(payment.provider_payment_id))
    body, right = signed(event, **({"secret": secret} if secret else {}), age=age)  # type: ignore[arg-type]
    with pytest.raises(CallbackRefused):
        providers.get("stripe", shop).verify(Callback(right if headers is None else headers, body, clock.now()))


@pytest.mark.parametrize(
    ("lie", "stored"),
    [({"amount_total": 50001}, 1), ({"currency": "usd"}, 1), ({"amount_total": "x"}, 1), ({"id": "cs_of_another"}, 0)],
)
def test_a_signed_callback_that_does_not_match_our_payment_credits_nothing_and_is_stored(
    *, app: Flask, session: Session, payment: Payment, stripe_side: StripeFarSide, lie: dict[str, Any], stored: int
) -> None:
    # What is answered with 400 Stripe repeats for three days, and then it is lost (docs.stripe.com/webhooks).
    event = stripe_side.pay(str(payment.provider_payment_id))
    event["data"]["object"].update(lie)
    body, headers = signed(event)
    assert app.test_client().post(PATH, data=body, headers=headers).status_code == 200
    kept = session.scalars(select(PaymentEvent)).all()
    assert len(kept) == stored
    for row in kept:
        assert settlement.settle(session, row.id) in REVIEW_RESULTS
    assert (payment.status, payment.settled_at) == (PaymentStatus.PENDING, None)


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("charge.dispute.funds_withdrawn", {"id": "du_1", "amount": 50000, "currency": "rub", "payment_intent": None}),
        ("charge.dispute.funds_withdrawn", {"id": "du_1", "amount": 900, "currency": "usd", "payment_intent": "pi_2"}),
        (
            "refund.created",
            {"id": "re_1", "amount": 1, "currency": "rub", "payment_intent": "pi", "status": "succeeded"},
        ),
        ("refund.created", {"id": "re_1", "charge": "ch_1", "status": "succeeded"}),
        ("checkout.session.completed", {"id": "cs_1", "payment_status": "paid", "status": "complete"}),
        ("invoice.paid", {"id": "in_1"}),
    ],
)
def test_a_signed_event_of_another_product_is_accepted_and_moves_nothing(
    *, app: Flask, session: Session, payment: Payment, stripe_side: StripeFarSide, kind: str, about: dict[str, Any]
) -> None:
    body, headers = signed(stripe_side.event(kind, about))
    assert app.test_client().post(PATH, data=body, headers=headers).status_code == 200
    for row in session.scalars(select(PaymentEvent)).all():
        assert settlement.settle(session, row.id) == "waiting"
    assert (payment.status, payment.returned_rub) == (PaymentStatus.PENDING, 0)


def test_a_dispute_over_another_amount_or_in_another_currency_is_kept_for_an_admin(
    *, session: Session, payment: Payment, charlie: User, shop: Settings, stripe_side: StripeFarSide
) -> None:
    # docs.stripe.com/api/disputes/object: "usually the amount of the charge, but it can differ".
    name = str(payment.provider_payment_id)
    told(session, shop, stripe_side.pay(name))
    larger, foreign = stripe_side.dispute(name, 50100), stripe_side.dispute(name, 900)
    foreign["data"]["object"].update(id="du_foreign", currency="usd")
    results = [str(told(session, shop, event)) for event in (larger, foreign)]
    assert results == ["amount_exceeds_payment", "amount_mismatch"]
    assert all(session.scalars(select(PaymentEvent.needs_review).where(PaymentEvent.result.in_(results))))
    assert balance(session, charlie) == 50


def test_a_checkout_asks_for_the_rubles_that_are_booked_whatever_the_payers_country(
    payment: Payment, stripe_side: StripeFarSide
) -> None:
    # docs.stripe.com/changelog, 2024-11-20: the parameter overrides the dashboard's setting of Adaptive Pricing.
    [made] = stripe_side.sessions.values()
    assert made["adaptive_pricing"] == {"enabled": False}
    assert made["id"] == payment.provider_payment_id


def test_a_provider_error_starts_no_payment_and_a_refusal_is_explained(
    *, session: Session, charlie: User, shop: Settings, stripe_side: StripeFarSide
) -> None:
    facts = {"amount": Decimal(5), "provider": "stripe", "return_url": "http://shop/", "settings": shop}
    stripe_side.failures = [0, 0, 0]
    with pytest.raises(ProviderDown), session.begin_nested():
        topups.start(session, charlie, **facts, actor=Actor(charlie.id))  # type: ignore[arg-type]
    assert session.scalars(select(Payment)).all() == []
    stripe_side.failures = [400]
    with pytest.raises(ProviderRefused), session.begin_nested():
        topups.start(session, charlie, **facts, actor=Actor(charlie.id))  # type: ignore[arg-type]


def test_the_portal_takes_stripes_callbacks_and_settles_them_at_once(
    *, app: Flask, session: Session, queued: Jobs, payment: Payment, stripe_side: StripeFarSide
) -> None:
    client = app.test_client()
    body, headers = signed(stripe_side.pay(str(payment.provider_payment_id)))
    answers = [client.post(PATH, data=body, headers=headers) for _ in range(2)]
    assert [answer.json for answer in answers] == [
        {"received": True, "processed": True},
        {"received": True, "processed": False},
    ]
    # Settled before it is answered: the payer is on the way back to a page that says whether the ZNC are there.
    session.refresh(payment)
    assert (queued, payment.status) == ([], PaymentStatus.SUCCEEDED)
    assert client.post(PATH, data=body).status_code == 400
    assert client.post(PATH, data=body + b" ", headers=headers).status_code == 400


@pytest.mark.parametrize(
    ("alone", "missing"),
    [
        ("STRIPE_SECRET_KEY", "stripe_webhook_secret"),
        ("STRIPE_WEBHOOK_SECRET", "stripe_secret_key"),
        ("YOOKASSA_SHOP_ID", "yookassa_secret_key"),
    ],
)
def test_incomplete_settings_of_a_provider_are_an_error(
    environment: dict[str, str], settings: Settings, alone: str, missing: str
) -> None:
    value = "a setting that only tests use"
    with pytest.raises(ConfigError, match=f"{missing} is required"):
        load_settings({**environment, "DATABASE_URL": settings.database.url, f"ZENZEFI_PAYMENTS__{alone}": value})


def test_two_settings_switch_a_provider_on(shop: Settings, settings: Settings) -> None:
    assert settings.payments.providers == ("mock",)
    assert shop.payments.providers == ("mock", "stripe", "yookassa")


def test_a_retired_provider_takes_no_payment_and_its_old_ones_are_settled_and_refunded(
    *, session: Session, payment: Payment, charlie: User, dana: User, shop: Settings, stripe_side: StripeFarSide
) -> None:
    rules = shop.payments.model_copy(update={"providers": ("mock",), "retired": ("stripe",)})
    later = shop.model_copy(update={"payments": rules})
    facts = {"amount": Decimal(50), "provider": "stripe", "return_url": "http://shop/wallet", "settings": later}
    with pytest.raises(NotFound):
        topups.start(session, charlie, **facts, actor=Actor(charlie.id))  # type: ignore[arg-type]
    assert told(session, later, stripe_side.pay(str(payment.provider_payment_id))) == "credited"
    asked = {"amount_rub": Decimal(200), "reason": "as agreed", "key": some_id(), "actor": Actor(dana.id)}
    reversal = refunds.request(session, payment.id, **asked)  # type: ignore[arg-type]
    assert refunds.send(session, reversal.id, later) is ReversalState.DONE


def test_the_keys_of_a_retired_provider_do_not_switch_it_on(
    environment: dict[str, str], settings: Settings, shop: Settings
) -> None:
    more = {
        "ZENZEFI_PAYMENTS__RETIRED": '["stripe"]',
        "ZENZEFI_PAYMENTS__STRIPE_SECRET_KEY": "sk_test_a_key_that_only_tests_use",
        "ZENZEFI_PAYMENTS__STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    loaded = load_settings({**environment, **more, "DATABASE_URL": settings.database.url})
    assert (loaded.payments.providers, loaded.payments.known) == (("mock",), ("mock", "stripe"))
    del more["ZENZEFI_PAYMENTS__STRIPE_SECRET_KEY"], more["ZENZEFI_PAYMENTS__STRIPE_WEBHOOK_SECRET"]
    with pytest.raises(ConfigError, match="stripe_secret_key is required"):
        load_settings({**environment, **more, "DATABASE_URL": settings.database.url})
    both = {"ZENZEFI_PAYMENTS__PROVIDERS": '["mock"]', "ZENZEFI_PAYMENTS__RETIRED": '["mock"]'}
    with pytest.raises(ConfigError, match="cannot be on and retired"):
        load_settings({**environment, **both, "DATABASE_URL": settings.database.url})


def test_the_wallets_form_may_lead_to_the_checkouts_and_no_other_page_may(app: Flask, charlie: User) -> None:
    browser = Browser(app.test_client())
    browser.log_in(charlie)
    wallet = browser.get("/wallet")
    assert (
        "form-action 'self' https://checkout.stripe.com https://yoomoney.ru"
        in wallet.headers["Content-Security-Policy"]
    )
    assert "Card (Stripe)" in wallet.text
    assert "stripe" not in browser.get("/profile").headers["Content-Security-Policy"]


def test_a_provider_that_does_not_respond_is_an_error_of_the_form(
    app: Flask, charlie: User, stripe_side: StripeFarSide
) -> None:
    browser = Browser(app.test_client())
    browser.log_in(charlie)
    stripe_side.failures = [0, 0, 0]
    answer = browser.post("/wallet/top-up", amount="50", provider="stripe", next="")
    assert answer.status_code == 503
    assert "The payment provider is not responding" in answer.text
    # docs.stripe.com/error-codes: a refusal for good is not one that may pass.
    stripe_side.refusal = {"code": "amount_too_small", "message": "Amount must convert to at least 50 cents."}
    answer = browser.post("/wallet/top-up", amount="50", provider="stripe", next="")
    assert (answer.status_code, "does not accept this amount" in answer.text) == (400, True)
    stripe_side.refusal = {"message": "Your account cannot make live charges."}
    answer = browser.post("/wallet/top-up", amount="50", provider="stripe", next="")
    assert "Your account cannot make live charges" in answer.text
    stripe_side.refusal = {}
    answer = browser.post("/wallet/top-up", amount="50", provider="stripe", next="")
    assert (answer.status_code, answer.location.split("/pay/")[0]) == (303, stripe_side.address)


@pytest.mark.parametrize(("amount", "status"), [("4.99", 400), ("5", 303), ("100000", 400)])
def test_the_amount_limits_of_a_payment_method_are_shown_and_checked(
    app: Flask, charlie: User, stripe_side: StripeFarSide, amount: str, status: int
) -> None:
    # docs.stripe.com/currencies, "Minimum and maximum charge amounts".
    browser = Browser(app.test_client())
    browser.log_in(charlie)
    assert "Card (Stripe): 5 to" in browser.get("/wallet").text
    answer = browser.post("/wallet/top-up", amount=amount, provider="stripe", next="")
    assert answer.status_code == status
    assert len(stripe_side.sessions) == (status == 303)


def test_canceling_a_payment_closes_its_checkout_and_a_paid_one_is_credited(
    *, session: Session, charlie: User, payment: Payment, shop: Settings, stripe_side: StripeFarSide
) -> None:
    facts = {"settings": shop, "actor": Actor(charlie.id)}
    assert topups.withdraw(session, charlie, payment.id, **facts) is PaymentStatus.EXPIRED  # type: ignore[arg-type]
    name = str(payment.provider_payment_id)
    assert (payment.failure, stripe_side.sessions[name]["status"]) == (PaymentFailure.WITHDRAWN, "expired")
    assert told(session, shop, stripe_side.pay(name)) == "credited"
    assert (balance(session, charlie), payment.failure) == (50, None)
    assert topups.withdraw(session, charlie, payment.id, **facts) is PaymentStatus.SUCCEEDED  # type: ignore[arg-type]


def test_a_payment_can_be_canceled_while_its_provider_does_not_respond(
    *, session: Session, charlie: User, payment: Payment, shop: Settings, stripe_side: StripeFarSide
) -> None:
    stripe_side.failures = [0] * 4
    facts = {"settings": shop, "actor": Actor(charlie.id)}
    assert topups.withdraw(session, charlie, payment.id, **facts) is PaymentStatus.EXPIRED  # type: ignore[arg-type]

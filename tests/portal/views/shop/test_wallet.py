"""Topping up, the mock provider's checkout, payments and transactions."""

import re

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs.queues import QueueDown
from models.config.settings import Settings
from models.payments import MockCheckout, Payment, PaymentEvent, PaymentFailure, PaymentStatus
from models.services.payments import settlement
from models.services.payments.providers.mock import MockProvider
from models.services.settings.overrides import CachedSettings
from models.users import User
from portal import create_app
from portal.request import context
from tests.factories import balance, buy, top_up
from tests.portal.conftest import Browser, Jobs, attribute, text_of


def paid(browser: Browser, session: Session, outcome: str = "pay", amount: str = "50", **more: str) -> Payment:
    """Start a top-up and decide it at the checkout."""
    checkout = browser.post("/wallet/top-up", amount=amount, **more).location
    assert browser.post(checkout, outcome=outcome).status_code == 303
    return session.scalars(select(Payment).order_by(Payment.created_at.desc())).first() or Payment()


def deliver(browser: Browser, session: Session, settings: Settings) -> None:
    """Do what the job does: send the signed callback, and settle what it stored."""
    session.expire_all()
    body, headers = MockProvider(settings).signed_callback(session.scalars(select(MockCheckout)).one())
    answer = browser.client.post("/api/v1/webhooks/payment", data=body, headers=headers)
    assert answer.json == {"received": True, "processed": True}
    settlement.settle(session, session.scalars(select(PaymentEvent.id)).one())
    session.commit()


def test_a_top_up_goes_through_the_checkout_and_a_signed_callback(
    as_charlie: Browser, charlie: User, session: Session, settings: Settings, queued: Jobs
) -> None:
    answer = as_charlie.post("/wallet/top-up", amount="50", provider="mock")
    assert answer.status_code == 303
    checkout = session.scalars(select(MockCheckout)).one()
    assert answer.location == f"/mock-checkout/{checkout.id}"
    page = as_charlie.get(answer.location)
    assert "500.00 ₽" in page.text
    answer = as_charlie.post(answer.location, outcome="pay")
    payment = session.scalars(select(Payment)).one()
    assert answer.location == f"/wallet/payments/{payment.id}?returned=1"
    assert queued == [("jobs.payments.deliver_mock_callback", str(checkout.id))]
    waiting = as_charlie.get(answer.location)
    assert f'href="{payment.checkout_url}"' in waiting.text
    assert 'data-refresh="1000"' in waiting.text
    assert '<noscript><meta http-equiv="refresh"' in waiting.text
    deliver(as_charlie, session, settings)
    done = as_charlie.get(f"/wallet/payments/{payment.id}")
    assert "Your wallet is topped up" in done.text
    assert "data-refresh" not in done.text
    assert attribute(done, "balance", "data-amount") == "50.00"
    assert balance(session, charlie) == 50


@pytest.mark.parametrize("outcome", ["cancel", "fail"])
def test_a_payment_that_was_not_made_changes_no_balance(
    as_charlie: Browser, charlie: User, session: Session, settings: Settings, outcome: str
) -> None:
    payment = paid(as_charlie, session, outcome)
    deliver(as_charlie, session, settings)
    assert ("The payment was declined" if outcome == "fail" else "Payment not completed") in as_charlie.get(
        f"/wallet/payments/{payment.id}"
    ).text
    assert balance(session, charlie) == 0


def test_only_the_first_decision_at_the_checkout_counts(as_charlie: Browser, session: Session, queued: Jobs) -> None:
    payment = paid(as_charlie, session, "cancel")
    path = f"/mock-checkout/{payment.provider_payment_id}"
    assert as_charlie.post(path, outcome="pay").status_code == 303
    assert session.scalar(select(MockCheckout.outcome)) == "canceled"
    assert len(queued) == 1
    assert "already been completed or canceled" in as_charlie.get(path).text
    assert as_charlie.post(path, outcome="steal").status_code == 400


def test_with_redis_down_the_decision_is_kept_and_the_page_works(
    as_charlie: Browser, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_job: str) -> None:
        raise QueueDown("connection refused")

    monkeypatch.setattr(context, "enqueue", down)
    paid(as_charlie, session)
    assert session.scalar(select(MockCheckout.outcome)) == "succeeded"


def test_the_return_path_to_a_purchase_survives_the_payment(
    as_charlie: Browser, session: Session, settings: Settings
) -> None:
    back = "/tokens/buy?duration_hours=24&scope=full"
    payment = paid(as_charlie, session, next=back)
    assert payment.return_url.startswith(settings.portal.address + f"/wallet/payments/{payment.id}?next=")
    deliver(as_charlie, session, settings)
    page = as_charlie.get(payment.return_url.removeprefix(settings.portal.address), follow_redirects=True)
    assert f'href="{back.replace("&", "&amp;")}"' in page.text
    assert "Continue your purchase" in page.text


def test_the_return_address_does_not_follow_the_host_header(as_charlie: Browser, session: Session) -> None:
    as_charlie.client.post(
        "/wallet/top-up",
        data={"csrf_token": as_charlie.csrf_token(), "amount": "5"},
        headers={"Host": "localhost", "X-Forwarded-Host": "evil.example"},
    )
    assert "evil" not in session.scalars(select(Payment.return_url)).one()


AMOUNTS = ["0", "0.00", "-5", "NaN", "Infinity", "1e30", "1e2", "0.001", "1,5", "", " ", "٣", "100000.01", "9" * 40]


@pytest.mark.parametrize("amount", AMOUNTS)
def test_an_invalid_top_up_amount_is_refused_with_a_message(as_charlie: Browser, session: Session, amount: str) -> None:
    answer = as_charlie.post("/wallet/top-up", amount=amount)
    assert answer.status_code == 400
    assert text_of(answer, "field-error")
    assert session.scalar(select(func.count()).select_from(Payment)) == 0


def test_a_provider_that_is_not_switched_on_is_refused(as_charlie: Browser, session: Session) -> None:
    answer = as_charlie.post("/wallet/top-up", amount="5", provider="stripe")
    assert answer.status_code == 400
    assert session.scalar(select(func.count()).select_from(Payment)) == 0


def test_transactions_are_signed_filtered_and_paged(
    as_alice: Browser, alice: User, session: Session, settings: Settings
) -> None:
    for _ in range(30):
        buy(session, alice, settings, hours=1)
    session.commit()
    pages = [as_alice.get("/wallet").text, as_alice.get("/wallet?page=2").text]
    assert [page.count('data-label="Amount" class="right') for page in pages] == [25, 6]
    assert sum(page.count('data-amount="-1.00"') for page in pages) == 30
    given = as_alice.get("/wallet?type=adjustment")
    assert re.findall(r'class="right plus" data-amount="([^"]+)"', given.text) == ["100.00"]
    assert "test money" in given.text
    assert as_alice.get("/wallet?type=nonsense").status_code == 200
    pager = as_alice.get("/wallet?type=purchase&page=1")
    assert 'href="/wallet?type=purchase&amp;page=2"' in pager.text


def test_pending_payments_are_on_the_dashboard(
    as_alice: Browser, alice: User, session: Session, settings: Settings
) -> None:
    payment = top_up(session, alice, settings)
    session.commit()
    assert f"/wallet/payments/{payment.id}" in as_alice.get("/dashboard").text
    payment.status = PaymentStatus.EXPIRED
    session.commit()
    assert f"/wallet/payments/{payment.id}" not in as_alice.get("/dashboard").text
    assert "Payment expired" in as_alice.get(f"/wallet/payments/{payment.id}").text


def test_without_the_mock_provider_there_is_no_mock_checkout(app: Flask, settings: Settings) -> None:
    off = settings.payments.model_copy(update={"providers": ()})
    bare = create_app(settings.model_copy(update={"payments": off}))
    assert not [rule for rule in bare.url_map.iter_rules() if "mock" in rule.rule]


def test_without_a_provider_the_wallet_says_so(
    app: Flask, as_alice: Browser, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = settings.payments.model_copy(update={"providers": ()})
    bare = CachedSettings(settings.model_copy(update={"payments": off}))
    monkeypatch.setitem(app.extensions, "zenzefi-runtime", bare)
    answer = as_alice.get("/wallet?amount=5&next=/tokens/buy")
    assert answer.status_code == 200
    assert "No payment method is set up yet." in text_of(answer, "alert")
    assert as_alice.post("/wallet/top-up", amount="5").status_code == 400
    assert as_alice.post("/wallet/gift", code="NONE").status_code in {303, 400}


def test_every_payment_can_be_found_and_a_pending_one_withdrawn_so_that_it_blocks_no_deletion(
    as_charlie: Browser, charlie: User, session: Session, settings: Settings, queued: Jobs
) -> None:
    oldest = top_up(session, charlie, settings)
    for _ in range(30):
        top_up(session, charlie, settings, "1")
    session.commit()
    assert queued == []
    assert f'data-payment="{oldest.id}"' in as_charlie.get("/wallet?payments=2").text
    assert "View or cancel" in as_charlie.get("/profile/delete").text
    path = f"/wallet/payments/{oldest.id}"
    assert f'action="{path}/withdraw"' in as_charlie.get(path).text
    assert as_charlie.post(f"{path}/withdraw").status_code == 303
    assert "Payment canceled" in as_charlie.flashes()
    session.refresh(oldest)
    assert (oldest.status, oldest.failure) == (PaymentStatus.EXPIRED, PaymentFailure.WITHDRAWN)
    assert f'action="{path}/withdraw"' not in as_charlie.get(path).text


def test_a_returning_payer_is_not_led_to_the_checkout_again(
    as_charlie: Browser, charlie: User, session: Session, settings: Settings
) -> None:
    payment = top_up(session, charlie, settings)
    session.commit()
    before, after = (as_charlie.get(f"/wallet/payments/{payment.id}{query}").text for query in ("", "?returned=1"))
    leads = f'button-main" href="{payment.checkout_url}"'
    assert (leads in before, leads in after, payment.checkout_url in after) == (True, False, True)

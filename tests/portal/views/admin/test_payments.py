"""Admin pages for payments: refunds, chargebacks and manual review."""

import re
import uuid
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.payments import Payment, PaymentReversal
from models.services.payments import callbacks, settlement
from models.users import User
from tests.factories import REVIEW_RESULTS, balance, buy, decided, top_up
from tests.portal.conftest import Browser, Jobs, attribute, text_of


@pytest.fixture
def payment(session: Session, charlie: User, settings: Settings) -> Payment:
    """A payment of 500 rubles by charlie for 50 ZNC."""
    started = top_up(session, charlie, settings)
    event_id = callbacks.store_event(session, "mock", decided(session, started, settings))
    assert event_id is not None
    settlement.settle(session, event_id)
    session.commit()
    return started


def form(**changes: str) -> dict[str, str]:
    return {"amount": "200", "reason": "as agreed", "key": str(uuid.uuid4()), **changes}


def test_a_refund_is_recorded_once_and_enqueues_its_job(
    *, as_dana: Browser, charlie: User, session: Session, payment: Payment, queued: Jobs
) -> None:
    page = as_dana.get(f"/admin/payments/{payment.id}")
    assert 'value="500.00"' in page.text
    sent = form()
    for said in ("The refund has been recorded", "was not made twice"):
        assert as_dana.post(f"/admin/payments/{payment.id}/refund", **sent).status_code == 303
        assert said in as_dana.flashes()
    assert queued == [("jobs.payments.send_refund", sent["key"])]
    assert balance(session, charlie) == 30
    page = as_dana.get(f"/admin/payments/{payment.id}")
    assert attribute(page, "returned", "data-amount") == "200.00"
    assert 'data-state="requested"' in page.text


@pytest.mark.parametrize(
    "changes",
    [{"amount": "500.01"}, {"amount": "-1"}, {"amount": "1,5,5"}, {"amount": ""}, {"reason": ""}, {"key": "none"}],
)
def test_an_invalid_refund_is_refused_with_a_message(
    *, as_dana: Browser, charlie: User, session: Session, payment: Payment, changes: dict[str, str]
) -> None:
    answer = as_dana.post(f"/admin/payments/{payment.id}/refund", **form(**changes))
    assert answer.status_code == 400
    assert text_of(answer, "field-error")
    assert balance(session, charlie) == 50
    assert session.scalars(select(PaymentReversal)).all() == []


def test_spent_money_cannot_be_refunded(
    *, as_dana: Browser, charlie: User, session: Session, payment: Payment, settings: Settings
) -> None:
    buy(session, charlie, settings)
    session.commit()
    answer = as_dana.post(f"/admin/payments/{payment.id}/refund", **form(amount="500"))
    assert answer.status_code == 400
    assert "Only 32.00 ZNC of this payment are unspent" in answer.text
    # What can go back is written into the form.
    assert 'value="320.00"' in as_dana.get(f"/admin/payments/{payment.id}").text


def test_a_chargeback_is_booked_once_and_ended_by_hand(
    *, as_dana: Browser, charlie: User, session: Session, payment: Payment
) -> None:
    sent = {**form(amount="500"), "reference": "ARN 1"}
    for said in ("The chargeback has been recorded", "was not recorded twice"):
        assert as_dana.post(f"/admin/payments/{payment.id}/chargeback", **sent).status_code == 303
        assert said in as_dana.flashes()
    assert balance(session, charlie) == 0
    refused = as_dana.post(f"/admin/payments/{payment.id}/chargeback", **{**sent, "key": str(uuid.uuid4())})
    assert (refused.status_code, "exceeds what is left" in refused.text) == (400, True)
    path = f"/admin/payments/{payment.id}/reversals/{sent['key']}"
    for reason, state, said in (("no", "won", "at least 3"), ("as the bank wrote", "won", "Recorded")):
        as_dana.post(path, reason=reason, state=state)
        assert said in as_dana.flashes()
    assert balance(session, charlie) == 50
    assert as_dana.post(path, reason="as the bank wrote", state="none").status_code == 404


def test_38_a_reviewed_report_is_booked_from_the_list(
    *, as_dana: Browser, charlie: User, session: Session, payment: Payment, settings: Settings
) -> None:
    event = replace(decided(session, payment, settings), outcome="refunded", event_id="e-1", refund_id="r-1")
    stored = callbacks.store_event(session, "mock", replace(event, amount_rub=Decimal("500.01")))
    assert stored is not None
    assert settlement.settle(session, stored) in REVIEW_RESULTS
    session.commit()
    assert 'name="book"' in as_dana.get("/admin/payments/review").text
    assert as_dana.post(f"/admin/payments/review/{stored}", note="asked the bank", book="1").status_code == 303
    assert "Recorded and resolved." in as_dana.flashes()
    assert balance(session, charlie) == 0


def test_an_unknown_payment_is_404(as_dana: Browser) -> None:
    assert as_dana.get(f"/admin/payments/{uuid.uuid4()}").status_code == 404
    assert as_dana.post(f"/admin/payments/{uuid.uuid4()}/refund", **form()).status_code == 404


def test_a_payment_event_is_listed_until_its_review_is_closed(
    *, as_dana: Browser, session: Session, payment: Payment, settings: Settings
) -> None:
    event = replace(decided(session, payment, settings), outcome="dispute_won", event_id="e-1", refund_id="d-9")
    stored = callbacks.store_event(session, "mock", event)
    assert stored is not None
    settlement.settle(session, stored)
    session.commit()
    assert ">1</span>" in as_dana.get("/admin/payments").text
    page = as_dana.get("/admin/payments/review")
    assert "the won dispute is not recorded here" in page.text
    assert "format=csv" in page.text
    [line] = as_dana.get("/admin/payments/review?format=csv").text.splitlines()[1:]
    assert line.startswith(f"{stored},{payment.id},")
    refused = as_dana.post(f"/admin/payments/review/{stored}?page=1", note="no")
    assert refused.status_code == 400
    answer = r'id="note-error" role="alert">Use at least 3 characters.*value="no" aria-invalid="true"'
    assert re.search(answer, refused.text, re.DOTALL)
    as_dana.post(f"/admin/payments/review/{stored}", note="asked the bank")
    assert str(stored) not in as_dana.get("/admin/payments/review").text
    assert "asked the bank" in as_dana.get(f"/admin/payments/{payment.id}").text
    assert as_dana.post(f"/admin/payments/review/{stored}", note="again").status_code == 404


def test_a_user_with_a_debt_sees_it_and_that_a_top_up_repays_it(
    *, as_charlie: Browser, as_dana: Browser, charlie: User, session: Session, payment: Payment, settings: Settings
) -> None:
    buy(session, charlie, settings)
    event = replace(decided(session, payment, settings), outcome="disputed", event_id="e-2", refund_id="d-1")
    stored = callbacks.store_event(session, "mock", replace(event, amount_rub=Decimal(500)))
    assert stored is not None
    settlement.settle(session, stored)
    session.commit()
    assert attribute(as_charlie.get("/wallet"), "debt", "data-amount") == "18.00"
    order = {"duration_hours": "1", "scope": "full", "name": "", "token_id": str(uuid.uuid4())}
    answer = as_charlie.post("/tokens/buy", **order)
    assert answer.status_code == 402
    assert "18.00 ZNC are still owed" in answer.text
    link = re.search(r'href="([^"]+)" data-testid="top-up-link"', answer.text)
    assert link is not None
    assert "amount=19.00" in link[1]
    assert "18.00" in as_dana.get(f"/admin/users/{charlie.id}").text

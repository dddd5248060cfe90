"""Unclaimed money in the admin area: listed by payment, refunded, or booked to the returned user."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.config.settings import Settings
from models.payments import Payment, PaymentReversal, ReversalState
from models.services.accounts import deletion
from models.services.actor import PLATFORM
from models.services.ledger import adjustments, transfers
from models.services.ledger import verification as ledger_verification
from models.services.payments import reversals
from models.users import User
from tests.conftest import PASSWORD, Clock
from tests.factories import actions, balance
from tests.models.services.accounts.test_deleted_accounts import back, expired, settle, unclaimed
from tests.models.services.payments.test_reversals import paid, said
from tests.portal.conftest import Browser


@pytest.fixture
def waiting(session: Session, bob: User, settings: Settings, time: Clock) -> Payment:
    """A payment for a deleted account whose refund the provider has rejected."""
    payment = expired(session, bob, settings, time)
    deletion.delete_account(session, bob, password=PASSWORD, code=None, settings=settings, actor=PLATFORM)
    settle(session, payment, settings)
    [reversal] = session.scalars(select(PaymentReversal)).all()
    reversals.undo(session, payment, reversal, ReversalState.REFUSED, note="The card is closed.")
    session.commit()
    return payment


def is_sound(session: Session) -> bool:
    return not [rule for rule in ledger_verification.RULES if ledger_verification.failed_checks(session, rule)]


def test_the_dashboard_leads_to_the_list_and_a_refund_empties_it(
    as_dana: Browser, session: Session, waiting: Payment
) -> None:
    assert "/admin/unclaimed" in as_dana.get("/admin/").text
    assert 'data-amount="50.00"' in as_dana.get("/admin/unclaimed").text
    facts = {"key": "6a4bb9e8-2a1f-4a6d-8f43-3f6b6f1e6c11"}
    for _ in range(2):
        assert as_dana.post(f"/admin/unclaimed/refund/{waiting.id}", **facts).status_code == 303
    states = session.scalars(select(PaymentReversal.state).order_by(PaymentReversal.created_at)).all()
    assert (states, unclaimed(session)) == ([ReversalState.REFUSED, ReversalState.REQUESTED], 0)
    assert "No unclaimed money." in as_dana.get("/admin/unclaimed").text
    assert "/admin/unclaimed" not in as_dana.get("/admin/").text
    assert is_sound(session)


def test_it_is_booked_to_the_user_who_registered_again_once_and_repays_a_debt_first(
    as_dana: Browser, session: Session, waiting: Payment, bob: User, settings: Settings
) -> None:
    first = back(session, settings, "bob2", "bob@example.test")
    deletion.delete_account(session, first, password=PASSWORD, code=None, settings=settings, actor=PLATFORM)
    again = back(session, settings, "bob3", "bob@example.test")
    spent = paid(session, again, settings, "20")
    adjustments.adjust(session, again, amount=-balance(session, again), reason="spent", actor=PLATFORM)
    said(session, spent, "disputed", "200", refund_id="d-1")
    session.commit()
    assert "bob@example.test" in as_dana.get("/admin/unclaimed").text
    for _ in range(2):
        as_dana.post(f"/admin/unclaimed/book/{bob.id}", payment_id=str(waiting.id))
    assert (unclaimed(session), balance(session, again)) == (0, 30)
    assert AuditAction.UNCLAIMED_BOOKED in actions(session)
    assert is_sound(session)


def test_a_chargeback_of_money_that_was_booked_to_the_returned_user_is_owed(
    as_dana: Browser, session: Session, waiting: Payment, bob: User, settings: Settings
) -> None:
    back(session, settings, "bob2", "bob@example.test")
    session.commit()
    as_dana.post(f"/admin/unclaimed/book/{bob.id}", payment_id=str(waiting.id))
    said(session, waiting, "disputed", "500", refund_id="d-1")
    assert (transfers.debt_of(session, bob.id), unclaimed(session), is_sound(session)) == (50, 0, True)


def test_it_is_for_admins_only(as_alice: Browser, waiting: Payment, bob: User) -> None:
    assert as_alice.get("/admin/unclaimed").status_code == 403
    assert as_alice.post(f"/admin/unclaimed/refund/{waiting.id}").status_code == 403
    assert as_alice.post(f"/admin/unclaimed/book/{bob.id}").status_code == 403

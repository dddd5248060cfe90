"""`books.verify` says that sound books are sound, and finds each kind of fault."""

from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.ledger import verification as ledger_verification
from models.services.payments import callbacks, settlement
from models.services.tokens import purchase as token_purchase
from models.services.tokens import revocation
from tests.conftest import make_user
from tests.factories import buy, decided, top_up

Committed = tuple[Settings, Sessions]
WALLET = "(SELECT id FROM accounts WHERE user_id = (SELECT id FROM users WHERE username = '{}'))"
BOB, ALICE = WALLET.format("bob"), WALLET.format("alice")
SALES = "(SELECT id FROM accounts WHERE kind = 'sales')"
BY_HAND = (
    "INSERT INTO transfers (id, kind, debit_account_id, credit_account_id, amount, description, reference_type,"
    " reference_id, idempotency_key) SELECT gen_random_uuid(), '{kind}', {debit}, {credit}, {amount}, '', '{type}',"
    " {id}, gen_random_uuid()::text; UPDATE accounts SET balance = balance - {amount} WHERE id = {debit};"
    " UPDATE accounts SET balance = balance + {amount} WHERE id = {credit}"
)
# The same money in two halves: every sum is as before.
TWICE = (
    "UPDATE transfers SET amount = amount / 2 WHERE kind = '{kind}';"
    "INSERT INTO transfers (id, kind, debit_account_id, credit_account_id, amount, description, reference_type,"
    " reference_id, idempotency_key) SELECT gen_random_uuid(), kind, debit_account_id, credit_account_id, amount, '',"
    " reference_type, reference_id, 'again' FROM transfers WHERE kind = '{kind}'"
)
BALANCE = "account_balance"
SUM = "sum_zero"
DAY = "daily_totals"
DEPOSIT = "payment_deposit"
PRICE = "token_price"
REFUND = "token_refund"
JOIN = "transfer_accounts"


def history(session: Session, settings: Settings) -> None:
    """Leave one of everything in the ledger: deposits, purchases, a refund, adjustments."""
    alice, bob = make_user(session, "alice", balance="100"), make_user(session, "bob", balance="20")
    payment = top_up(session, alice, settings)
    event_id = callbacks.store_event(session, "mock", decided(session, payment, settings))
    assert event_id is not None
    settlement.settle(session, event_id)
    top_up(session, bob, settings)
    buy(session, alice, settings)
    revocation.revoke(session, bob, buy(session, bob, settings, hours=1).id, settings=settings, actor=PLATFORM)
    token_purchase.issue_demo(session, alice, settings=settings, actor=PLATFORM)


@pytest.fixture
def shop(committed: Committed) -> Sessions:
    """A database with a small, sound history."""
    settings, sessions = committed
    with sessions.begin() as session:
        history(session, settings)
    return sessions


def faults_after(sessions: Sessions, damage: str) -> set[str]:
    """Do damage that no service would do, by the rights of a database owner, and say what verify finds."""
    with sessions.begin() as session:
        session.execute(text("ALTER TABLE transfers DISABLE TRIGGER transfers_append_only"))
        for statement in damage.split(";"):
            session.execute(text(statement))
    with sessions.begin() as session:
        return set(ledger_verification.verify(session).faults)


def test_a_consistent_ledger_passes_verification(shop: Sessions) -> None:
    with shop.begin() as session:
        report = ledger_verification.verify(session)
    assert report.faults == {}
    assert report.is_sound
    assert (report.transfers, report.turnover) == (6, Decimal("190.00"))


def test_an_empty_ledger_passes_verification(committed: Committed) -> None:
    with committed[1].begin() as session:
        report = ledger_verification.verify(session)
        assert (report.transfers, report.turnover, report.is_sound) == (0, 0, True)
        assert set(report.balances.values()) == {0}


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (f"UPDATE accounts SET balance = balance + 1 WHERE id = {ALICE}", {BALANCE, SUM}),
        (
            f"UPDATE accounts SET balance = balance + 1 WHERE id = {ALICE};"
            f"UPDATE accounts SET balance = balance - 1 WHERE id = {BOB}",
            {BALANCE},
        ),
        ("UPDATE transfers SET amount = amount + 1 WHERE kind = 'deposit'", {BALANCE, DEPOSIT, DAY}),
        ("UPDATE payments SET status = 'pending', settled_at = NULL WHERE settled_at IS NOT NULL", {DEPOSIT}),
        ("UPDATE payments SET status = 'succeeded', settled_at = now() WHERE status = 'pending'", {DEPOSIT}),
        ("UPDATE payments SET amount_znc = amount_znc + 1 WHERE status = 'succeeded'", {DEPOSIT}),
        ("UPDATE access_tokens SET price_paid = price_paid + 1 WHERE price_paid = 18", {PRICE}),
        ("UPDATE access_tokens SET refund_amount = 0.5 WHERE refund_amount = 1", {REFUND}),
        ("UPDATE access_tokens SET revoked_at = NULL, refund_amount = NULL WHERE refund_amount = 1", {REFUND}),
        (
            BY_HAND.format(kind="purchase", debit=ALICE, credit=SALES, amount=1, type="token", id="gen_random_uuid()"),
            {JOIN},
        ),
        (
            BY_HAND.format(
                kind="refund", debit=SALES, credit=ALICE, amount=0.5, type="token",
                id="(SELECT id FROM access_tokens WHERE refund_amount = 1)",
            ),
            {JOIN, REFUND},
        ),
        (
            BY_HAND.format(kind="adjustment", debit=ALICE, credit=BOB, amount=1, type="user", id="gen_random_uuid()"),
            {JOIN},
        ),
        (f"UPDATE transfers SET credit_account_id = {BOB} WHERE kind = 'deposit'", {BALANCE, JOIN}),
        (TWICE.format(kind="deposit"), {DEPOSIT, DAY}),
        ("UPDATE payment_days SET paid_rub = paid_rub + 1", {DAY}),
        ("DELETE FROM payment_days", {DAY}),
        (TWICE.format(kind="refund"), {REFUND}),
    ],
)  # fmt: skip
def test_each_kind_of_fault_is_found(shop: Sessions, damage: str, found: set[str]) -> None:
    assert faults_after(shop, damage) == found


def test_a_report_names_what_is_wrong(shop: Sessions) -> None:
    faults_after(shop, f"UPDATE accounts SET balance = 7 WHERE id = {ALICE}")
    with shop.begin() as session:
        (row,) = ledger_verification.verify(session).faults[BALANCE]
    assert row.startswith("wallet ")
    assert row.endswith("balance 7.00, transfers 132.00")


def test_verifying_cannot_change_anything(shop: Sessions) -> None:
    with shop.begin() as session:
        ledger_verification.verify(session)
        with pytest.raises(DBAPIError, match="read-only transaction"), session.begin_nested():
            session.execute(text("UPDATE accounts SET balance = 0"))

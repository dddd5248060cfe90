"""Money is only ever moved: once for each key, never below zero, and history is never rewritten."""

import uuid
from decimal import Decimal

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from models.ledger import Account, AccountKind, Transfer, TransferKind
from models.services.actor import PLATFORM, Actor
from models.services.errors import DuplicateTransfer, InsufficientFunds, InvalidInput
from models.services.ledger import adjustments, transfers
from models.users import User
from tests.factories import actions, balance


def move(session: Session, debit: Account, credit: Account, amount: str, key: str = "test") -> uuid.UUID:
    """Book an adjustment between two accounts."""
    return transfers.transfer(
        session,
        TransferKind.ADJUSTMENT,
        debit=debit,
        credit=credit,
        amount=Decimal(amount),
        purpose=None,
        description="a test",
        reference=("user", uuid.uuid4()),
        idempotency_key=key,
        actor=PLATFORM,
    )


def test_a_transfer_moves_money_from_one_account_to_the_other(session: Session, alice: User, bob: User) -> None:
    transfer_id = move(session, transfers.wallet_of(session, alice.id), transfers.wallet_of(session, bob.id), "12.34")
    assert (balance(session, alice), balance(session, bob)) == (Decimal("87.66"), Decimal("112.34"))
    entry = session.get_one(Transfer, transfer_id)
    assert transfers.signed_amount(entry, transfers.wallet_of(session, alice.id)) == Decimal("-12.34")
    assert transfers.signed_amount(entry, transfers.wallet_of(session, bob.id)) == Decimal("12.34")


def test_a_key_is_booked_once(session: Session, alice: User, bob: User) -> None:
    wallets = transfers.wallet_of(session, alice.id), transfers.wallet_of(session, bob.id)
    move(session, *wallets, "10", key="once")
    with pytest.raises(DuplicateTransfer) as caught:
        move(session, *wallets, "10", key="once")
    assert caught.value.idempotency_key == "once"
    assert balance(session, alice) == 90


def test_a_wallet_can_be_emptied_but_not_overdrawn(session: Session, alice: User, bob: User) -> None:
    wallets = transfers.wallet_of(session, alice.id), transfers.wallet_of(session, bob.id)
    with pytest.raises(InsufficientFunds) as caught, session.begin_nested():
        move(session, *wallets, "100.01")
    assert caught.value.needed == Decimal("100.01")
    assert (balance(session, alice), balance(session, bob)) == (100, 100)
    move(session, *wallets, "100")
    assert balance(session, alice) == 0


def test_the_platforms_own_accounts_may_be_below_zero(session: Session, alice: User) -> None:
    assert transfers.system_account(session, AccountKind.ADJUSTMENTS).balance == -100


@pytest.mark.parametrize("amount", ["0", "-1", "0.001", "0.005", "NaN", "1e30", "Infinity"])
def test_an_amount_that_cannot_be_booked_moves_nothing(session: Session, alice: User, bob: User, amount: str) -> None:
    with pytest.raises(InvalidInput):
        move(session, transfers.wallet_of(session, alice.id), transfers.wallet_of(session, bob.id), amount)
    assert (balance(session, alice), balance(session, bob)) == (100, 100)


def test_a_transfer_from_an_account_to_itself_is_refused(session: Session, alice: User) -> None:
    wallet = transfers.wallet_of(session, alice.id)
    with pytest.raises(IntegrityError, match="ck_transfers_two_accounts"):
        move(session, wallet, wallet, "1")


@pytest.mark.parametrize(
    "rewriting", ["UPDATE transfers SET amount = 1", "DELETE FROM transfers", "TRUNCATE transfers"]
)
def test_the_database_refuses_to_change_transfers(session: Session, alice: User, rewriting: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        session.execute(text(rewriting))


def test_the_database_itself_refuses_a_wallet_below_zero(session: Session, alice: User) -> None:
    with pytest.raises(IntegrityError, match="ck_accounts_own_not_negative"):
        session.execute(text("UPDATE accounts SET balance = -0.01 WHERE kind = 'wallet'"))


@pytest.mark.parametrize("amount", ["0", "-5"])
def test_the_database_itself_refuses_a_transfer_of_nothing(
    session: Session, alice: User, bob: User, amount: str
) -> None:
    row = {
        "kind": TransferKind.ADJUSTMENT,
        "debit_account_id": transfers.wallet_of(session, alice.id).id,
        "credit_account_id": transfers.wallet_of(session, bob.id).id,
        "amount": Decimal(amount),
        "description": "",
        "reference_type": "user",
        "reference_id": alice.id,
        "idempotency_key": "by hand",
    }
    with pytest.raises(IntegrityError, match="ck_transfers_amount_positive"):
        session.execute(insert(Transfer).values(**row))


@pytest.mark.parametrize(
    ("kind", "constraint"),
    [("wallet", "uq_accounts_personal"), ("sales", "ck_accounts_owner")],
)
def test_a_user_has_one_wallet_and_nothing_else(session: Session, alice: User, kind: str, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        session.execute(
            text("INSERT INTO accounts (id, kind, user_id) VALUES (gen_random_uuid(), :kind, :id)"),
            {"kind": kind, "id": alice.id},
        )


def test_there_is_one_account_of_each_system_kind(session: Session) -> None:
    with pytest.raises(IntegrityError, match="uq_accounts_system"):
        session.execute(text("INSERT INTO accounts (id, kind) VALUES (gen_random_uuid(), 'sales')"))


def test_transactions_are_a_wallets_own_newest_first_and_can_be_filtered(
    session: Session, alice: User, bob: User
) -> None:
    wallet = transfers.wallet_of(session, alice.id)
    move(session, wallet, transfers.wallet_of(session, bob.id), "1")
    page = transfers.transactions(session, wallet, limit=10, offset=0)
    assert page.total == 2
    assert {wallet.id} <= {page.items[0].debit_account_id, page.items[0].credit_account_id}
    assert transfers.transactions(session, wallet, limit=10, offset=0, kind=TransferKind.DEPOSIT).total == 0


def test_an_adjustment_credits_or_debits_with_a_reason_and_is_audited(
    session: Session, alice: User, dana: User
) -> None:
    actor = Actor(dana.id)
    assert adjustments.adjust(session, alice, amount=Decimal("5.50"), reason=" a gift ", actor=actor) == Decimal(
        "105.5"
    )
    assert adjustments.adjust(session, alice, amount=Decimal("-105.50"), reason="a fine", actor=actor) == 0
    assert actions(session, alice)[-2:] == ["balance.adjusted", "balance.adjusted"]
    newest = transfers.transactions(session, transfers.wallet_of(session, alice.id), limit=3, offset=0).items
    assert {(entry.description, entry.actor_id) for entry in newest} >= {("a gift", dana.id), ("a fine", dana.id)}


@pytest.mark.parametrize("reason", ["", "  ", "ab", "x" * 201, "two\nlines", "nul\x00byte", "half \ud800"])
def test_an_adjustment_needs_a_reason_on_one_line(session: Session, alice: User, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        adjustments.adjust(session, alice, amount=Decimal(1), reason=reason, actor=PLATFORM)
    assert caught.value.field == "reason"
    assert balance(session, alice) == 100


def test_an_adjustment_sent_twice_is_booked_once(session: Session, alice: User) -> None:
    key = uuid.uuid4()
    adjustments.adjust(session, alice, amount=Decimal(1), reason="a gift", actor=PLATFORM, key=key)
    with pytest.raises(DuplicateTransfer), session.begin_nested():
        adjustments.adjust(session, alice, amount=Decimal(1), reason="a gift", actor=PLATFORM, key=key)
    assert balance(session, alice) == 101

"""Attacks on payments, purchases and refunds, on a real database with real commits and threads.

docs/spec/invariants.md#1-replayed-payment-callbacks
docs/spec/invariants.md#2-forged-payment-callbacks
docs/spec/invariants.md#3-canceled-payments
docs/spec/invariants.md#4-refunds-within-the-price
docs/spec/invariants.md#5-concurrent-purchases
docs/spec/invariants.md#6-revocation-and-activation-at-once
docs/spec/invariants.md#7-crash-between-statements
docs/spec/invariants.md#9-balances-change-through-the-ledger-only
docs/spec/invariants.md#10-invalid-amounts
"""

import ast
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken
from models.audit import AuditAction, AuditEntry
from models.config.settings import Settings
from models.database import Sessions
from models.ledger import Transfer, TransferKind
from models.payments import PaymentEvent
from models.services import messages
from models.services.actor import Actor
from models.services.errors import CallbackRefused, DomainError, InsufficientFunds, InvalidInput, TokenUnusable
from models.services.gateway import sessions
from models.services.ledger import adjustments, money
from models.services.ledger import verification as ledger_verification
from models.services.payments import callbacks, settlement
from models.services.payments.providers import Event
from models.services.payments.providers.base import Callback
from models.services.payments.providers.mock import SIGNATURE_HEADER, MockProvider
from models.services.tokens import revocation
from models.users import User
from tests.abuse.shop import Shop, assert_all_or_nothing
from tests.conftest import SECRETS, make_user
from tests.factories import REVIEW_RESULTS, assert_sound, balance, buy, race, top_up

Committed = tuple[Settings, Sessions]
ROUNDS = 15


@pytest.fixture
def shop(committed: Committed) -> Shop:
    return Shop(committed)


def test_1_replaying_a_payment_callback_credits_once(shop: Shop) -> None:
    event = shop.pay()
    first, *rest = [shop.callback(event) for _ in range(5)]
    assert first is not None
    assert rest == [None] * 4
    for _ in range(3):
        shop.settle(first)
    assert shop.money() == 150
    assert_sound(shop.factory)


def test_1_two_settlements_of_one_callback_at_the_same_instant_credit_once(shop: Shop) -> None:
    for number in range(1, ROUNDS + 1):
        event_id = shop.callback(shop.pay("1"))
        assert event_id is not None
        assert race(*[partial(shop.settle, event_id)] * 3) == ["credited"] * 3
        assert shop.money() == 100 + number
    assert_sound(shop.factory)


@pytest.mark.parametrize("same_event", [True, False])
def test_1_two_callbacks_at_the_same_instant_credit_once(shop: Shop, same_event: bool) -> None:
    def arrive(event: Event) -> str | None:
        event_id = shop.callback(event)
        return shop.settle(event_id) if event_id else None

    for number in range(1, ROUNDS + 1):
        event = shop.pay("1")
        other = event if same_event else replace(event, event_id=str(uuid.uuid4()))
        results = race(partial(arrive, event), partial(arrive, other))
        assert results.count("credited") == 1
        assert set(results) == {"credited", None if same_event else "payment_state"}
        assert shop.money() == 100 + number
    assert_sound(shop.factory)


def test_2_an_unsigned_wrongly_signed_or_stale_callback_changes_nothing(shop: Shop) -> None:
    body = json.dumps(shop.pay().body).encode()
    key, now = SECRETS["ZENZEFI_PAYMENTS__MOCK_SIGNING_KEY"], int(clock.now().timestamp())

    def sign(key: str, stamp: int) -> dict[str, str]:
        signature = hmac.new(key.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        return {SIGNATURE_HEADER: f"t={stamp},v1={signature}"}

    for headers in ({}, sign("a key of somebody else", now), sign("", now), sign(key, now - 301), sign(key, now + 400)):
        with pytest.raises(CallbackRefused):
            MockProvider(shop.settings).verify(Callback(headers, body, clock.now()))
    assert shop.count(PaymentEvent) == 0
    assert MockProvider(shop.settings).verify(Callback(sign(key, now), body, clock.now())).outcome == "succeeded"


@pytest.mark.parametrize("lie", [{"amount_rub": Decimal(5000)}, {"currency": "USD"}, {"provider_payment_id": "other"}])
def test_2_a_callback_whose_amount_currency_or_payment_is_not_ours_changes_nothing(
    shop: Shop, lie: dict[str, Any]
) -> None:
    event = shop.pay()
    stored = shop.callback(replace(event, **lie))
    # What a provider has signed is kept; one about a payment that is none of ours is ignored.
    assert (stored is None) == ("provider_payment_id" in lie)
    assert stored is None or shop.settle(stored) in REVIEW_RESULTS
    assert shop.run(lambda s: callbacks.store_event(s, "another provider", event)) is None
    assert shop.money() == 100


def test_3_a_canceled_payment_is_never_turned_into_a_credit(shop: Shop) -> None:
    event = shop.pay()
    canceled = shop.callback(replace(event, outcome="canceled", event_id="first"))
    assert canceled is not None
    assert shop.settle(canceled) == "canceled"
    for event_id in ("late", "later"):
        late = shop.callback(replace(event, event_id=event_id))
        assert late is not None
        assert shop.settle(late) == "payment_state"
        assert shop.settle(late) in REVIEW_RESULTS
    assert shop.money() == 100
    assert_sound(shop.factory)


def test_3_a_cancellation_and_a_success_at_the_same_instant_end_in_one_of_the_two(shop: Shop) -> None:
    for _ in range(ROUNDS):
        before, event = shop.money(), shop.pay("1")
        stored = [
            shop.callback(replace(event, outcome=o, event_id=str(uuid.uuid4()))) for o in ("succeeded", "canceled")
        ]
        results = race(*(lambda e=event_id: shop.settle(e) for event_id in stored))
        won = "credited" if "credited" in results else "canceled"
        assert results.count(won) == 1
        assert shop.money() == before + (won == "credited")
    assert_sound(shop.factory)


def test_4_revoking_never_returns_more_than_was_paid(shop: Shop) -> None:
    token = shop.run(lambda s: buy(s, shop.alice, shop.settings))

    def revoke() -> Decimal:
        return shop.run(
            lambda s: revocation.revoke(s, shop.alice, token.id, settings=shop.settings, actor=Actor(shop.alice.id))
        )[1]

    results = race(*[revoke] * 4)
    assert [result for result in results if not isinstance(result, DomainError)] == [Decimal("18.00")]
    assert shop.money() == 100
    assert_sound(shop.factory)


def test_5_two_purchases_with_money_for_one_sell_one_token(shop: Shop) -> None:
    def purchase() -> AccessToken:
        return shop.run(lambda s: buy(s, shop.alice, shop.settings, hours=168))

    for number in range(1, ROUNDS + 1):
        results = race(purchase, purchase)
        assert {type(result) for result in results} == {AccessToken, InsufficientFunds}
        assert shop.money() == 0
        assert shop.count(AccessToken) == number
        shop.run(lambda s: adjustments.adjust(s, shop.alice, amount=Decimal(100), reason="next round", actor=Actor()))
    assert_sound(shop.factory)


def test_6_revoking_and_first_use_at_the_same_instant_are_never_both(shop: Shop) -> None:
    def revoke(token_id: uuid.UUID) -> Decimal:
        facts = {"settings": shop.settings, "actor": Actor(shop.alice.id)}
        return shop.run(lambda s: revocation.revoke(s, shop.alice, token_id, **facts))[1]

    def use(token_id: uuid.UUID) -> None:
        rules = shop.settings.sessions
        shop.run(lambda s: sessions.start_session(s, token_id, device=None, rules=rules, actor=Actor()))

    def row(token_id: uuid.UUID) -> AccessToken:
        return shop.run(lambda s: s.get_one(AccessToken, token_id))

    for _ in range(ROUNDS):
        token_id = shop.run(lambda s: buy(s, shop.alice, shop.settings)).id
        refund, used = race(partial(revoke, token_id), partial(use, token_id))
        if isinstance(used, TokenUnusable):
            assert (refund, row(token_id).activated_at) == (Decimal("18.00"), None)
        else:
            assert used is None
            assert row(token_id).activated_at is not None
            assert refund < 18
    assert_sound(shop.factory)


def operation(shop: Shop, what: str) -> tuple[Callable[[Session], Any], set[str]]:
    """Prepare an operation on money; return it with the tables that it must change."""
    settings, alice = shop.settings, shop.alice
    changed = {"accounts", "transfers", "audit_entries"}
    if what == "purchase":
        return lambda s: buy(s, s.get_one(User, alice.id), settings), changed | {"access_tokens"}
    if what == "adjust":
        adjust = adjustments.adjust
        return lambda s: adjust(s, alice, amount=Decimal(-7), reason="a fine", actor=Actor()), changed
    if what == "settle":
        event_id = shop.callback(shop.pay())
        assert event_id is not None
        changed |= {"payments", "payment_events", "payment_days", "outbox_mails"}
        return lambda s: settlement.settle(s, event_id), changed
    token = shop.run(lambda s: buy(s, alice, settings))
    return lambda s: revocation.revoke(s, alice, token.id, settings=settings, actor=Actor()), changed | {
        "access_tokens"
    }


@pytest.mark.parametrize("what", ["purchase", "revoke", "settle", "adjust"])
def test_7_a_crash_between_any_two_statements_leaves_all_or_nothing(shop: Shop, what: str) -> None:
    call, must_change = operation(shop, what)
    assert_all_or_nothing(shop, call, must_change)


def test_9_an_admins_balance_change_is_a_ledger_entry_with_a_reason(shop: Shop) -> None:
    dana = shop.run(lambda s: make_user(s, "dana", is_superuser=True))
    shop.run(
        lambda s: adjustments.adjust(s, shop.alice, amount=Decimal(-30), reason="a chargeback", actor=Actor(dana.id))
    )
    entry = shop.run(lambda s: s.scalars(select(Transfer).where(Transfer.amount == 30)).one())
    assert (entry.kind, entry.description, entry.actor_id) == (TransferKind.ADJUSTMENT, "a chargeback", dana.id)
    traces = select(AuditEntry).where(AuditEntry.actor_id == dana.id).order_by(AuditEntry.id)
    trace = shop.run(lambda s: s.scalars(traces).all())[-1]
    assert (trace.action, trace.user_id) == (AuditAction.BALANCE_ADJUSTED, shop.alice.id)
    assert trace.details == {"amount": "-30", "reason": "a chargeback"}
    with pytest.raises(InvalidInput):
        shop.run(lambda s: adjustments.adjust(s, shop.alice, amount=Decimal(1), reason=" ", actor=Actor(dana.id)))
    assert shop.money() == 70


def test_9_a_balance_written_past_the_ledger_is_found(shop: Shop) -> None:
    shop.run(lambda s: s.execute(text("UPDATE accounts SET balance = balance + 5 WHERE kind = 'wallet'")))
    assert not shop.run(ledger_verification.verify).is_sound


def test_9_only_the_ledgers_conditional_update_writes_a_balance() -> None:
    """Searches all production code for assignments to a balance and UPDATE or INSERT of accounts with one."""
    found = set()
    for path in (file for folder in ("models", "portal", "jobs", "addon") for file in Path(folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(isinstance(target, ast.Attribute) and target.attr == "balance" for target in targets):
                    found.add(f"{path}: {ast.unparse(node)}")
            elif isinstance(node, ast.Call) and any(word.arg == "balance" for word in node.keywords):
                found |= {f"{path}: {ast.unparse(node)}"} if "Account)" in ast.unparse(node.func) else set()
    assert found == {
        "models/services/ledger/transfers.py: insert(Account).values(id=uuid.uuid4(), kind=kind, user_id=user_id,"
        " balance=Decimal(0))",
        "models/services/ledger/transfers.py: update(Account).where(Account.id == account.id)"
        ".values(balance=Account.balance + change)",
    }


def test_9_a_booked_transfer_cannot_be_changed_or_deleted(shop: Shop) -> None:
    for statement in ("UPDATE transfers SET amount = 1", "DELETE FROM transfers", "TRUNCATE transfers CASCADE"):
        with pytest.raises(DBAPIError, match="append-only"):
            shop.run(partial(Session.execute, statement=text(statement)))
    assert_sound(shop.factory)


@pytest.mark.parametrize("amount", ["0", "0.00", "-1", "NaN", "1e30", "0.001", "1,5", "", "Infinity", "\u0661", "1e2"])
def test_10_an_invalid_amount_is_rejected_with_a_message(amount: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        money.parse_amount(amount)
    assert messages.error_text(caught.value).endswith(".")


@pytest.mark.parametrize("amount", ["0", "NaN", "sNaN", "Infinity", "1e30", "-1e30", "0.001", "-0.005"])
def test_10_an_invalid_amount_is_rejected_by_the_services_too(
    session: Session, alice: User, settings: Settings, amount: str
) -> None:
    with pytest.raises(InvalidInput):
        adjustments.adjust(session, alice, amount=Decimal(amount), reason="a test", actor=Actor())
    with pytest.raises(InvalidInput):
        top_up(session, alice, settings, amount)
    assert balance(session, alice) == 100

"""Changing the text of any message changes no decision and no stored row.

docs/spec/invariants.md#39-messages-are-only-text
"""

import ast
import uuid
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.database import Sessions
from models.ledger import Transfer
from models.payments import PaymentEvent, PaymentReversal
from models.services import message_catalogue, messages
from models.services.accounts import password_policy
from models.services.actor import PLATFORM
from models.services.errors import DomainError
from models.services.ledger import money, transfers
from models.services.ledger import verification as ledger_verification
from models.services.promotions import coupons, gift_codes
from models.services.tokens import revocation
from models.services.webhooks import url_policy
from models.users import User
from tests.abuse.shop import Shop
from tests.factories import buy, decided, person, top_up

ROOT = Path(__file__).resolve().parents[2]
TABLES = {name: texts for name, texts in vars(message_catalogue).items() if isinstance(texts, dict) and name.isupper()}
NONSENSE = "Flurb 100 %% review: ignored: the payment is canceled"


def refused(call: Callable[[], object]) -> str:
    """Return the code with which a call is refused."""
    with pytest.raises(DomainError) as caught:
        call()
    return caught.value.code


def decide(shop: Shop, user: User) -> list[Any]:
    """Go through flows whose decisions are stored or refused, and return what was decided."""
    run, settings = shop.run, shop.settings

    def report(outcome: Any, rub: Decimal | None = None) -> str:
        event = run(lambda s: decided(s, top_up(s, user, settings, "50"), settings))
        shop.settle(shop.callback(event) or uuid.uuid4())
        amount = event.amount_rub if rub is None else rub
        again = replace(event, event_id=str(uuid.uuid4()), outcome=outcome, amount_rub=amount, refund_id="r-1")
        return shop.settle(shop.callback(again) or uuid.uuid4())

    reports = [("canceled", None), ("refunded", Decimal(1)), ("refunded", Decimal(9_999)), ("disputed", Decimal(2))]
    reports += [("dispute_won", Decimal(3)), ("unreadable", None), ("succeeded", Decimal(7))]
    results: list[Any] = [report(outcome, rub) for outcome, rub in reports]
    token = run(lambda s: buy(s, s.get_one(User, user.id), settings))
    run(lambda s: revocation.revoke(s, s.get_one(User, user.id), token.id, settings=settings, actor=PLATFORM))
    calls: list[Callable[[Session], object]] = [
        lambda s: coupons.quotes(s, user, "NO-SUCH-CODE", {24: Decimal(5)}),
        lambda s: gift_codes.redeem(s, user, "NO-SUCH-CODE", settings=settings, actor=PLATFORM),
        lambda s: revocation.revoke(s, user, token.id, settings=settings, actor=PLATFORM),
        lambda _s: password_policy.check("password", field="password", own=()),
        lambda _s: money.parse_amount("1e3"),
        lambda _s: money.parse_amount("7", at_most=Decimal(5)),
        lambda _s: url_policy.require_allowed("ftp://example.org", settings),
    ]
    results += [refused(lambda call=call: run(call)) for call in calls]  # type: ignore[misc]
    return [*results, *run(lambda s: stored(s, user))]


def stored(session: Session, user: User) -> list[Any]:
    """Return what was stored of a user's money, without ids and times."""
    wallet = transfers.wallet_of(session, user.id)
    touches = (Transfer.debit_account_id == wallet.id) | (Transfer.credit_account_id == wallet.id)
    moved = session.scalars(select(Transfer).where(touches).order_by(Transfer.created_at, Transfer.id))
    events = session.scalars(
        select(PaymentEvent).where(PaymentEvent.payment.has(user_id=user.id)).order_by(PaymentEvent.received_at)
    )
    reversals = session.scalars(
        select(PaymentReversal).where(PaymentReversal.payment.has(user_id=user.id)).order_by(PaymentReversal.created_at)
    )
    return [
        [(row.kind, row.purpose, sorted(row.details), row.description, row.amount) for row in moved],
        [(row.outcome, row.result, row.result_details, row.needs_review) for row in events],
        [(row.state, row.cause, row.reason, row.end_cause, row.note) for row in reversals],
    ]


def test_39_replacing_the_text_of_every_message_changes_no_decision_and_no_row(
    committed: tuple[Settings, Sessions], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(committed)
    before = decide(shop, shop.alice)
    for texts in TABLES.values():
        for code in texts:
            monkeypatch.setitem(texts, code, NONSENSE)
    assert decide(shop, person(shop.factory, "bob", balance="100")) == before
    assert shop.run(ledger_verification.verify).faults == {}
    with pytest.raises(DomainError) as caught:
        money.parse_amount("0")
    assert messages.error_text(caught.value, "ru").startswith("Flurb")


def test_39_no_service_job_or_gateway_module_repeats_the_text_of_a_message() -> None:
    texts = {text for table in TABLES.values() for text in table.values() if " " in text}
    found = []
    for folder in ("models", "jobs", "addon"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "message_catalogue.py":
                constants = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
                found += [f"{path}: {node.value}" for node in constants if node.value in texts]
    assert found == []

"""Attacks on the payment callbacks of a portal that runs as it is deployed, over HTTP.

docs/spec/invariants.md#1-replayed-payment-callbacks
docs/spec/invariants.md#2-forged-payment-callbacks
docs/spec/invariants.md#3-canceled-payments
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import func, select

from models import clock
from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from models.payments import Payment, PaymentEvent, PaymentStatus
from models.services.payments import settlement
from models.users import User
from tests.abuse.payment_callbacks import CallbackUrl, MockSigner, StripeSigner, attacks, yookassa_body
from tests.abuse.portal.servers import production
from tests.conftest import SECRETS
from tests.factories import assert_sound, balance, person
from tests.ops.portals import serving
from tests.providers.fake_stripe import WEBHOOK_SECRET

AMOUNT = Decimal(1)
AT_ONCE = 8
NOWHERE = "http://127.0.0.1:9"
SIGNERS = [MockSigner(SECRETS["ZENZEFI_PAYMENTS__MOCK_SIGNING_KEY"]), StripeSigner(WEBHOOK_SECRET)]
EVERY_PROVIDER = {
    "PLATFORM__ENVIRONMENT": "development",
    "PORTAL__PUBLIC_URL": "http://127.0.0.1",
    "PORTAL__TRUSTED_PROXIES": "0",
    "PAYMENTS__PROVIDERS": '["mock"]',
    "PAYMENTS__STRIPE_SECRET_KEY": "sk_test_a_key_that_only_tests_use",
    "PAYMENTS__STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    "PAYMENTS__STRIPE_API": NOWHERE,
    "PAYMENTS__YOOKASSA_SHOP_ID": "100500",
    "PAYMENTS__YOOKASSA_SECRET_KEY": "a yookassa key that only tests use",
    "PAYMENTS__YOOKASSA_API": NOWHERE,
}


@dataclass
class Target:
    """A running portal with a user whose payments are attacked."""

    port: int
    settings: Settings
    factory: Sessions
    user: User = field(init=False)

    def __post_init__(self) -> None:
        self.user = person(self.factory, "alice")

    def pay(self, provider: str, provider_payment_id: str) -> Payment:
        """Insert a pending payment that its provider does not know."""
        rate = self.settings.prices.rub_per_znc
        payment = Payment(
            id=uuid.uuid4(), user_id=self.user.id, provider=provider, provider_payment_id=provider_payment_id,
            amount_znc=AMOUNT, amount_rub=AMOUNT * rate, rub_per_znc=rate, status=PaymentStatus.PENDING,
            return_url="/wallet", expires_at=clock.now() + timedelta(hours=1),
        )  # fmt: skip
        with self.factory.begin() as session:
            session.add(payment)
        return payment

    def state(self, payment: Payment) -> tuple[PaymentStatus, Decimal, int, int]:
        """Return a payment's status, the user's balance, and its events: all, and those that need a review.

        Callbacks that the portal left to a job are settled first; no worker runs here.
        """
        with self.factory.begin() as session:
            for event_id in session.scalars(select(PaymentEvent.id).where(PaymentEvent.processed_at.is_(None))).all():
                settlement.settle(session, event_id)
        events = select(func.count(PaymentEvent.id)).where(PaymentEvent.payment_id == payment.id)
        with self.factory() as session:
            status = session.scalars(select(Payment.status).where(Payment.id == payment.id)).one()
            reviewed = session.scalar(events.where(PaymentEvent.needs_review)) or 0
            return status, balance(session, self.user), session.scalar(events) or 0, reviewed


@pytest.fixture
def target(
    committed: tuple[Settings, Sessions], environment: dict[str, str], redis: Redis, tmp_path: Path
) -> Iterator[Target]:
    assert redis
    variables = {**environment, "DATABASE_URL": committed[0].database.url}
    settings = config.load_settings({**variables, **{f"ZENZEFI_{key}": value for key, value in EVERY_PROVIDER.items()}})
    with production(variables, tmp_path / "portal.log", **EVERY_PROVIDER) as running:
        yield Target(running.port, settings, committed[1])
    assert_sound(committed[1])


def test_2_forged_and_malformed_callbacks_are_rejected_and_credit_nothing(target: Target) -> None:
    for signer in SIGNERS:
        payment, url = target.pay(signer.provider, signer.new_payment_id()), CallbackUrl(target.port, signer.provider)
        expected = 0
        for attack in attacks(signer, payment):
            status = url.send(attack.body, attack.headers, method=attack.method, chunked=attack.chunked)
            expected += attack.needs_review
            assert status in attack.statuses, (signer.provider, attack.name)
            assert target.state(payment) == (PaymentStatus.PENDING, 0, expected, expected), attack.name
    # YooKassa does not sign: its callbacks are recognised by the address that they come from.
    payment = target.pay("yookassa", str(uuid.uuid4()))
    theirs = str(target.settings.payments.yookassa_networks[0][1])
    forged = [{}, {"X-Forwarded-For": theirs}, {"X-Real-IP": theirs}, {"Forwarded": f"for={theirs}"}]
    url = CallbackUrl(target.port, "yookassa")
    assert [url.send(yookassa_body(payment), headers) for headers in forged] == [400] * 4
    assert target.state(payment) == (PaymentStatus.PENDING, 0, 0, 0)


def test_3_a_cancellation_is_stored_once_and_late_successes_need_a_review(target: Target) -> None:
    for signer in SIGNERS:
        payment, url = target.pay(signer.provider, signer.new_payment_id()), CallbackUrl(target.port, signer.provider)
        canceled = signer.callback(payment, "canceled")
        assert url.send_at_once([canceled] * AT_ONCE) == [200] * AT_ONCE
        assert target.state(payment) == (PaymentStatus.CANCELED, 0, 1, 0)
        assert [url.send(*canceled), url.send(*signer.callback(payment, "canceled"))] == [200, 200]
        assert target.state(payment)[:2] == (PaymentStatus.CANCELED, 0)
        assert [url.send(*signer.callback(payment, "succeeded")) for _ in range(2)] == [200, 200]
        assert target.state(payment) == (PaymentStatus.CANCELED, 0, 4, 2)


def test_1_concurrent_and_replayed_callbacks_credit_and_refund_once(target: Target) -> None:
    signer, url = SIGNERS[0], CallbackUrl(target.port, "mock")
    payment = target.pay("mock", signer.new_payment_id())

    def balance_after(*statuses: int) -> Decimal:
        assert set(statuses) == {200}
        return target.state(payment)[1]

    genuine, other = (signer.callback(payment, "succeeded") for _ in range(2))
    assert balance_after(*url.send_at_once([genuine, other] * (AT_ONCE // 2))) == AMOUNT
    assert balance_after(url.send(*genuine)) == AMOUNT
    assert balance_after(url.send(*signer.callback(payment, "canceled"))) == AMOUNT
    # A refund of more than was paid takes nothing back.
    assert balance_after(url.send(*signer.callback(payment, "refunded", amount=payment.amount_rub + 1))) == AMOUNT
    refund = signer.callback(payment, "refunded")
    assert balance_after(*url.send_at_once([refund] * AT_ONCE)) == 0
    assert balance_after(url.send(*signer.callback(payment, "succeeded")), url.send(*refund)) == 0
    assert target.state(payment)[0] is PaymentStatus.REFUNDED


def test_2_providers_that_are_switched_off_have_no_callback_address(
    committed: tuple[Settings, Sessions], redis: Redis
) -> None:
    assert redis
    with serving(committed[0]) as address:
        port = int(address.rpartition(":")[2])
        assert {CallbackUrl(port, name).send(b"{}", {}) for name in ("stripe", "yookassa", "nobody")} == {404}

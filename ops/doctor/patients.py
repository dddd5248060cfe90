"""The doctor's own user and payments: what is attacked is never a customer's."""

import secrets
import uuid
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import clock
from models.ledger import Account, AccountKind, Transfer
from models.payments import Payment, PaymentEvent, PaymentStatus
from models.services.accounts import roles, users
from models.services.actor import PLATFORM
from models.services.payments import callbacks, manual_review, reversals, topups
from models.services.payments.providers import Event
from models.users import User
from ops.doctor.findings import House

# No mail is ever delivered below this name (RFC 2606), so this is nobody's address.
DOMAIN = "doctor.invalid"
NOTE = "An attack of ./zenzefi doctor"
AMOUNT = Decimal(1)
# A doctor who was killed leaves payments behind; one that is at work just now must not be disturbed.
LEFT_BEHIND = timedelta(minutes=10)


class Patient:
    """A user of the doctor's, with payments that exist here only: no provider has heard of them."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._payments: list[uuid.UUID] = []
        with house.sessions.begin() as session:
            self._user = _user(session)
            session.flush()
            before = clock.now() - LEFT_BEHIND
            query = select(Payment.id).where(Payment.user_id == self._user.id, Payment.created_at < before)
            left = list(
                session.scalars(query.where(Payment.status.in_((PaymentStatus.PENDING, PaymentStatus.SUCCEEDED))))
            )
        for payment_id in left:
            self._heal(payment_id)

    def pay(self, provider: str, name: str) -> Payment:
        """Begin a payment here, without a word to its provider."""
        rate = self._house.settings.prices.rub_per_znc
        payment = Payment(
            id=uuid.uuid4(),
            user_id=self._user.id,
            provider=provider,
            provider_payment_id=name,
            amount_znc=AMOUNT,
            amount_rub=AMOUNT * rate,
            rub_per_znc=rate,
            status=PaymentStatus.PENDING,
            return_url=self._house.settings.portal.address,
            expires_at=clock.now() + timedelta(hours=1),
        )
        with self._house.sessions.begin() as session:
            session.add(payment)
        self._payments.append(payment.id)
        return payment

    def status(self, payment: Payment) -> PaymentStatus:
        """Say how a payment stands now."""
        with self._house.sessions.begin() as session:
            return session.scalars(select(Payment.status).where(Payment.id == payment.id)).one()

    def events(self, payment: Payment, *, waiting: bool = False) -> int:
        """Count what was stored about a payment; with `waiting`, what no job has acted on."""
        query = select(func.count()).where(PaymentEvent.payment_id == payment.id)
        if waiting:
            query = query.where(PaymentEvent.processed_at.is_(None))
        with self._house.sessions.begin() as session:
            return session.scalar(query) or 0

    def to_review(self, payment: Payment) -> int:
        """Count what waits for a person about a payment."""
        query = select(func.count()).where(PaymentEvent.payment_id == payment.id, PaymentEvent.needs_review)
        with self._house.sessions.begin() as session:
            return session.scalar(query) or 0

    def credited(self, *only: Payment) -> Decimal:
        """Return the ZNC that payments (all, if none is named) brought their user, less what was taken back."""
        wallets = select(Account.id).where(Account.user_id == self._user.id, Account.kind != AccountKind.HELD)
        of_them = Transfer.reference_id.in_([payment.id for payment in only] or self._payments)
        came = select(func.coalesce(func.sum(Transfer.amount), 0)).where(
            of_them, Transfer.credit_account_id.in_(wallets)
        )
        went = select(func.coalesce(func.sum(Transfer.amount), 0)).where(
            of_them, Transfer.debit_account_id.in_(wallets)
        )
        with self._house.sessions.begin() as session:
            return Decimal(session.scalar(came) or 0) - Decimal(session.scalar(went) or 0)

    def heal(self) -> None:
        """Leave nothing behind: no payment that is open, no ZNC, nothing that waits for an admin."""
        for payment_id in self._payments:
            self._heal(payment_id)

    def _heal(self, payment_id: uuid.UUID) -> None:
        with self._house.sessions.begin() as session:
            payment = reversals.locked(session, payment_id)
            if payment.status in {PaymentStatus.PENDING, PaymentStatus.EXPIRED}:
                reversals.move(payment, PaymentStatus.CANCELED)
            left = payment.amount_rub - payment.returned_rub
            if payment.status is PaymentStatus.SUCCEEDED and left > 0:
                stored = callbacks.store_event(session, payment.provider, _taken_back(payment, left))
                if stored is not None:
                    topups.settle(session, stored)
            for event in topups.events_of(session, payment_id):
                if event.needs_review and event.reviewed_at is None:
                    manual_review.close(session, event.id, note=NOTE, actor=PLATFORM)


def _user(session: Session) -> User:
    """Return the doctor's user, made disabled at the first visit, so that nobody logs in as it."""
    query = select(User).where(
        User.email.endswith(f"@{DOMAIN}"), User.is_active.is_(False), User.is_superuser.is_(False)
    )
    found = session.scalars(query.order_by(User.created_at).limit(1)).one_or_none()
    if found is not None:
        return found
    name = f"doctor-{secrets.token_hex(4)}"
    password = secrets.token_urlsafe(32)
    made = users.register(session, email=f"{name}@{DOMAIN}", username=name, password=password, actor=PLATFORM)
    return roles.set_active(session, made.id, active=False, actor=PLATFORM)


def _taken_back(payment: Payment, left: Decimal) -> Event:
    facts = {"event_id": str(uuid.uuid4()), "currency": "RUB", "body": {"note": NOTE}, "refund_id": str(uuid.uuid4())}
    name = str(payment.provider_payment_id)
    return Event(provider_payment_id=name, outcome="refunded", amount_rub=left, **facts)  # type: ignore[arg-type]

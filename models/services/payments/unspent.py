"""Unspent amount of a payment in its payer's wallet, first in, first out."""

import uuid
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.ledger import Account, Transfer, TransferKind
from models.payments import Payment
from models.services.ledger import transfers

NOTHING = Decimal(0)
Reference = tuple[str, uuid.UUID]


def unspent_amount(session: Session, payment: Payment) -> Decimal:
    """Return the ZNC of a payment that were neither spent nor refunded, by the wallet's whole history.

    The wallet may hold more: gifts and other payments cannot be refunded through this payment. The caller locks the
    wallet where nothing may be spent meanwhile.
    """
    wallet = transfers.wallet_of(session, payment.user_id)
    lots = _Lots()
    query = (
        select(Transfer, AccessToken.bundle_purchase_id)
        .outerjoin(AccessToken, (Transfer.reference_type == "token") & (AccessToken.id == Transfer.reference_id))
        .where(or_(Transfer.debit_account_id == wallet.id, Transfer.credit_account_id == wallet.id))
        .order_by(Transfer.created_at, Transfer.id)
    )
    for transfer, bundle_purchase_id in session.execute(query.execution_options(yield_per=1000)):
        _replay(lots, wallet, transfer, bundle_purchase_id)
    return lots.left(payment.id)


def _replay(lots: "_Lots", wallet: Account, transfer: Transfer, bundle_purchase_id: uuid.UUID | None) -> None:
    reference = (transfer.reference_type, transfer.reference_id)
    is_of_payment = transfer.reference_type == "payment"
    if transfer.debit_account_id == wallet.id:
        lots.take(transfer.amount, reference, first=transfer.reference_id if is_of_payment else None)
    elif transfer.kind is TransferKind.REFUND:
        # A refund of unused time returns to the lots that paid for it; a bundle's tokens were paid together.
        bought = [reference] if bundle_purchase_id is None else [reference, ("bundle_purchase", bundle_purchase_id)]
        lots.give_back(transfer.amount, bought)
    else:
        lots.add(transfer.amount, transfer.reference_id if is_of_payment else None)


@dataclass(slots=True)
class _Lot:
    payment_id: uuid.UUID | None
    left: Decimal


class _Lots:
    """Credits of a wallet by their source, oldest first."""

    def __init__(self) -> None:
        self._lots: list[_Lot] = []
        # The lots debited for each purchase, so that its refund is credited to them.
        self._taken: dict[Reference, list[tuple[_Lot, Decimal]]] = defaultdict(list)

    def left(self, payment_id: uuid.UUID) -> Decimal:
        return sum((lot.left for lot in self._lots if lot.payment_id == payment_id), NOTHING)

    def add(self, amount: Decimal, payment_id: uuid.UUID | None) -> None:
        self._lots.append(_Lot(payment_id, amount))

    def take(self, amount: Decimal, reference: Reference, *, first: uuid.UUID | None) -> None:
        own = [lot for lot in self._lots if first is not None and lot.payment_id == first]
        for lot in [*own, *self._lots]:
            part = min(lot.left, amount)
            if part:
                lot.left, amount = lot.left - part, amount - part
                self._taken[reference].append((lot, part))
            if not amount:
                return

    def give_back(self, amount: Decimal, references: list[Reference]) -> None:
        for reference in references:
            taken = self._taken[reference]
            while taken and amount:
                lot, part = taken.pop()
                back = min(part, amount)
                lot.left, amount = lot.left + back, amount - back
                if back < part:
                    taken.append((lot, part - back))
        if amount:
            self.add(amount, None)

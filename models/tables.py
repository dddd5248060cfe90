"""Every table in one import, for migrations and for tests that compare the two."""

from models.audit import AuditEntry
from models.base import Base
from models.entries import AccessCookie, AccessTicket
from models.ledger import Account, Transfer
from models.outage_credits import OutageCredit
from models.outages import Outage
from models.outbox import OutboxMail
from models.pauses import TokenPause
from models.payments import MockCheckout, Payment, PaymentEvent
from models.sessions import ProxySession
from models.token_events import TokenEvent
from models.tokens import AccessToken
from models.users import User

__all__ = [
    "AccessCookie",
    "AccessTicket",
    "AccessToken",
    "Account",
    "AuditEntry",
    "Base",
    "MockCheckout",
    "Outage",
    "OutageCredit",
    "OutboxMail",
    "Payment",
    "PaymentEvent",
    "ProxySession",
    "TokenEvent",
    "TokenPause",
    "Transfer",
    "User",
]

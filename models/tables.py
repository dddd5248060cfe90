"""Imports every table, for migrations and for tests that compare the two."""

from models.access_tokens import AccessToken
from models.announcements import Announcement
from models.api_keys import ApiKey
from models.audit import AuditEntry
from models.audit_chain import AuditArchive, AuditChainLink, AuditCheck
from models.base import Base
from models.browser_access import AccessCookie, AccessTicket
from models.bundles import Bundle, BundlePurchase
from models.coupons import Coupon, CouponUse
from models.daily_stats import DailyPayments, DailyStats
from models.email_links import EmailLink
from models.gift_codes import GiftCode, GiftRedemption
from models.idempotency import IdempotentReply
from models.inspections import Inspection
from models.known_devices import KnownDevice
from models.leases import Lease
from models.ledger import Account, LedgerCheck, Transfer
from models.logins import Login
from models.notification_preferences import NotificationPreference
from models.outage_credits import OutageCredit
from models.outages import Outage
from models.outbox import OutboxMail
from models.payments import MockCheckout, Payment, PaymentEvent
from models.proxy_sessions import ProxySession
from models.referrals import ReferralBonus
from models.setting_changes import SettingChange
from models.token_events import TokenEvent
from models.token_pauses import TokenPause
from models.two_factor import RecoveryCode, TwoFactor
from models.usage import TokenUsageDay, UsageDay
from models.user_notes import UserNote
from models.users import User
from models.webhooks import WebhookDelivery, WebhookEndpoint

__all__ = [
    "AccessCookie",
    "AccessTicket",
    "AccessToken",
    "Account",
    "Announcement",
    "ApiKey",
    "AuditArchive",
    "AuditChainLink",
    "AuditCheck",
    "AuditEntry",
    "Base",
    "Bundle",
    "BundlePurchase",
    "Coupon",
    "CouponUse",
    "DailyPayments",
    "DailyStats",
    "EmailLink",
    "GiftCode",
    "GiftRedemption",
    "IdempotentReply",
    "Inspection",
    "KnownDevice",
    "Lease",
    "LedgerCheck",
    "Login",
    "MockCheckout",
    "NotificationPreference",
    "Outage",
    "OutageCredit",
    "OutboxMail",
    "Payment",
    "PaymentEvent",
    "ProxySession",
    "RecoveryCode",
    "ReferralBonus",
    "SettingChange",
    "TokenEvent",
    "TokenPause",
    "TokenUsageDay",
    "Transfer",
    "TwoFactor",
    "UsageDay",
    "User",
    "UserNote",
    "WebhookDelivery",
    "WebhookEndpoint",
]

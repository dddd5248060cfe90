"""The names that pages give to values of the domain, in one place, so that they can be translated."""

from flask_babel import lazy_gettext as _

from models.access_tokens import TokenState
from models.announcements import Level
from models.audit import AuditAction
from models.inspections import InspectionTarget
from models.ledger import TransferKind
from models.notification_preferences import Topic
from models.outbox import MailState
from models.payments import PaymentFailure, PaymentStatus, ReversalKind, ReversalState
from models.webhooks import DeliveryState

TOKEN_STATES = {
    TokenState.READY: _("ready"),
    TokenState.ACTIVE: _("active"),
    TokenState.PAUSED: _("paused"),
    TokenState.EXPIRED: _("expired"),
    TokenState.REVOKED: _("revoked"),
}
PAYMENT_STATUSES = {
    PaymentStatus.PENDING: _("pending"),
    PaymentStatus.SUCCEEDED: _("paid"),
    PaymentStatus.CANCELED: _("canceled"),
    PaymentStatus.EXPIRED: _("expired"),
    PaymentStatus.REFUNDED: _("refunded"),
}
PAYMENT_FAILURES = {
    PaymentFailure.DECLINED: _("declined"),
    PaymentFailure.ABANDONED: _("not paid in time"),
    PaymentFailure.WITHDRAWN: _("canceled by the payer"),
}
REVERSAL_KINDS = {ReversalKind.REFUND: _("Refund"), ReversalKind.DISPUTE: _("Dispute")}
REVERSAL_STATES = {
    ReversalState.REQUESTED: _("requested"),
    ReversalState.DONE: _("done"),
    ReversalState.REFUSED: _("rejected"),
    ReversalState.WON: _("won"),
}
TRANSFER_KINDS = {
    TransferKind.DEPOSIT: _("Top-up"),
    TransferKind.PURCHASE: _("Purchase"),
    TransferKind.REFUND: _("Refund"),
    TransferKind.REFERRAL_BONUS: _("Referral bonus"),
    TransferKind.ADJUSTMENT: _("Adjustment"),
    TransferKind.GIFT: _("Gift"),
    TransferKind.REVERSAL: _("Reversal"),
}
AUDIT_ACTIONS = {
    AuditAction.USER_REGISTERED: _("Registered"),
    AuditAction.USER_REGISTERED_AGAIN: _("Repeated registration"),
    AuditAction.USER_LOGGED_IN: _("Signed in"),
    AuditAction.USER_LOGIN_FAILED: _("Sign-in failed"),
    AuditAction.USER_LOGGED_OUT: _("Signed out"),
    AuditAction.USER_LOGINS_ENDED: _("Login sessions ended"),
    AuditAction.USER_PASSWORD_CHANGED: _("Password changed"),
    AuditAction.USER_PASSWORD_RESET_ASKED: _("Password reset requested"),
    AuditAction.USER_PASSWORD_RESET: _("Password reset"),
    AuditAction.USER_EMAIL_CONFIRMED: _("E-mail confirmed"),
    AuditAction.USER_EMAIL_CHANGED: _("E-mail changed"),
    AuditAction.USER_DELETED: _("Account deleted"),
    AuditAction.USER_EXPORTED: _("Data exported"),
    AuditAction.USER_VIEWED: _("Viewed by an admin"),
    AuditAction.TWO_FACTOR_ON: _("Two-factor authentication turned on"),
    AuditAction.TWO_FACTOR_OFF: _("Two-factor authentication turned off"),
    AuditAction.TWO_FACTOR_RESET: _("Two-factor authentication reset"),
    AuditAction.RECOVERY_CODE_USED: _("Recovery code used"),
    AuditAction.RECOVERY_CODES_MADE: _("Recovery codes regenerated"),
    AuditAction.USER_DISABLED: _("Account disabled"),
    AuditAction.USER_CHANGED: _("Name changed"),
    AuditAction.USER_PROMOTED: _("Admin role granted"),
    AuditAction.USER_DEMOTED: _("Admin role removed"),
    AuditAction.API_KEY_MADE: _("API key created"),
    AuditAction.API_KEY_ENDED: _("API key revoked"),
    AuditAction.USER_NOTED: _("Note added"),
    AuditAction.USER_ENABLED: _("Account enabled"),
    AuditAction.BALANCE_ADJUSTED: _("Balance adjusted"),
    AuditAction.PAYMENT_CREATED: _("Payment started"),
    AuditAction.PAYMENT_SETTLED: _("Payment completed"),
    AuditAction.PAYMENT_CANCELED: _("Payment canceled"),
    AuditAction.PAYMENT_EXPIRED: _("Payment expired"),
    AuditAction.PAYMENT_REFUND_REQUESTED: _("Refund requested"),
    AuditAction.PAYMENT_REFUND_REFUSED: _("Refund rejected"),
    AuditAction.PAYMENT_REFUNDED: _("Payment refunded"),
    AuditAction.PAYMENT_DISPUTED: _("Payment disputed"),
    AuditAction.PAYMENT_DISPUTE_WON: _("Dispute won"),
    AuditAction.PAYMENT_REVIEWED: _("Payment reviewed"),
    AuditAction.PAYMENT_NEEDS_REVIEW: _("Payment needs review"),
    AuditAction.UNCLAIMED_BOOKED: _("Unclaimed money booked"),
    AuditAction.TOKEN_PURCHASED: _("Token purchased"),
    AuditAction.TOKEN_ACTIVATED: _("Token activated"),
    AuditAction.TOKEN_REVOKED: _("Token revoked"),
    AuditAction.TOKEN_PAUSED: _("Token paused"),
    AuditAction.TOKEN_RESUMED: _("Token resumed"),
    AuditAction.TOKEN_EXTENDED: _("Token extended"),
    AuditAction.TOKEN_RENAMED: _("Token renamed"),
    AuditAction.TOKEN_ROTATED: _("Secret rotated"),
    AuditAction.TOKEN_SECRET_ENDED: _("Old secret revoked"),
    AuditAction.TOKEN_AUTO_RENEW_SET: _("Auto-renewal changed"),
    AuditAction.TOKEN_RENEWED: _("Token renewed"),
    AuditAction.TOKEN_RENEWAL_STOPPED: _("Auto-renewal stopped"),
    AuditAction.TOKEN_CREDITED: _("Outage credited"),
    AuditAction.TOKEN_FORCE_REVOKED: _("Token revoked by an admin"),
    AuditAction.INSPECTION_STARTED: _("Inspection started"),
    AuditAction.INSPECTION_ENDED: _("Inspection ended"),
    AuditAction.ANNOUNCEMENT_CHANGED: _("Announcement changed"),
    AuditAction.JOB_CHANGED: _("Job retried or removed"),
    AuditAction.SETTING_CHANGED: _("Setting changed"),
    AuditAction.BUNDLE_PURCHASED: _("Bundle purchased"),
    AuditAction.BUNDLE_CHANGED: _("Bundle changed"),
    AuditAction.COUPON_CHANGED: _("Coupon changed"),
    AuditAction.GIFTS_MADE: _("Gift codes created"),
    AuditAction.GIFT_CHANGED: _("Gift code changed"),
    AuditAction.GIFT_REDEEMED: _("Gift code redeemed"),
    AuditAction.BONUS_EARNED: _("Bonus earned"),
    AuditAction.BONUS_CORRECTED: _("Bonus corrected"),
    AuditAction.BONUS_LAPSED: _("Bonus lapsed"),
    AuditAction.BONUS_VESTED: _("Bonus credited"),
    AuditAction.TOKEN_ISSUED: _("Token issued"),
    AuditAction.TICKET_ISSUED: _("Browser link created"),
    AuditAction.COOKIE_OPENED: _("Browser access opened"),
    AuditAction.SESSION_OPENED: _("Session opened"),
    AuditAction.SESSION_TAKEN_OVER: _("Device changed"),
    AuditAction.SESSION_CUT: _("Session ended by an admin"),
    AuditAction.SESSION_RELEASED: _("Device released"),
    AuditAction.MAIL_SENT_AGAIN: _("E-mail resent"),
    AuditAction.WEBHOOK_CHANGED: _("Webhook changed"),
    AuditAction.WEBHOOK_SENT_AGAIN: _("Webhook event resent"),
}
MAIL_STATES = {MailState.WAITING: _("queued"), MailState.FAILED: _("failed"), MailState.SENT: _("sent")}
DELIVERY_STATES = {
    DeliveryState.WAITING: _("queued"),
    DeliveryState.DEAD: _("failed"),
    DeliveryState.DELIVERED: _("delivered"),
}
TOPICS = {
    Topic.TOKEN_EXPIRING: _("Token expires soon"),
    Topic.RENEWAL: _("Auto-renewal"),
    Topic.OUTAGE_CREDIT: _("Outage credit"),
    Topic.BALANCE_LOW: _("Low balance"),
    Topic.BONUS: _("A bonus is credited"),
    Topic.ANNOUNCEMENT: _("Announcements"),
    Topic.PAYMENT: _("Payment received"),
    Topic.REFUND: _("Refund of a payment"),
    Topic.TOKEN_ENDED: _("Token revoked by an admin"),
    Topic.TOKEN_PAUSED: _("Tokens paused because of a debt"),
    Topic.LOGIN: _("New device sign-in"),
}
# What an audit row is about.
RESOURCES = {
    "user": _("User details"),
    "token": _("Token"),
    "session": _("Session"),
    "payment": _("Payment"),
    "bundle_purchase": _("Bundle purchased"),
    "referral": _("Bonus"),
    "gift_code": _("Gift code"),
    "coupon": _("Coupon"),
    "bundle": _("Bundle"),
    "login": _("Login session"),
    "api_key": _("API key"),
    "webhook": _("Webhook"),
    "mail": _("E-mail message"),
    "announcement": _("Announcement"),
    "inspection": _("Inspection"),
    "setting": _("Setting"),
    "job": _("Job"),
}
# What a mail or a webhook's event is about, by the name of its kind.
KINDS = {
    "account_deleted": _("Account deleted"),
    "announcement": _("Announcement"),
    "backup_failed": _("Backup failed (admins)"),
    "balance_low": _("Low balance"),
    "bonus": _("A bonus is credited"),
    "change_email": _("Confirm new e-mail address"),
    "confirm_email": _("Confirm e-mail address"),
    "email_changed": _("E-mail address changed"),
    "ledger_fault": _("Ledger verification failed (admins)"),
    "login": _("New device sign-in"),
    "money_back": _("Refund of a payment"),
    "outage_credit": _("Outage credit"),
    "password_changed": _("Password changed"),
    "payment": _("Payment received"),
    "registered_again": _("Repeated registration"),
    "renewal_ahead": _("Upcoming renewal"),
    "renewal_price": _("The price of a renewal has risen"),
    "renewal_stopped": _("Auto-renewal stopped"),
    "renewed": _("Token renewed"),
    "reset_password": _("Password reset link"),
    "sign_in": _("Sign-in link"),
    "test": _("Test event"),
    "token_expiring": _("Token expires soon"),
    "token_revoked": _("Token revoked by an admin"),
    "tokens_paused": _("Tokens paused because of a debt"),
    "two_factor_off": _("Two-factor authentication turned off"),
    "two_factor_on": _("Two-factor authentication turned on"),
    "two_factor_reset": _("Two-factor authentication reset"),
    "viewed": _("Viewed by an admin"),
    "webhook_disabled": _("Webhook disabled"),
    "welcome": _("Welcome"),
}
TOPIC_HELP = {
    Topic.TOKEN_EXPIRING: _("A few hours before an active token without auto-renewal expires."),
    Topic.RENEWAL: _("Before a token is renewed, after it was, and when renewal fails."),
    Topic.OUTAGE_CREDIT: _("When lost time is credited to your tokens."),
    Topic.BALANCE_LOW: _("When it falls below the amount set under this table."),
    Topic.BONUS: _("For a user you invited."),
    Topic.ANNOUNCEMENT: _("Planned maintenance and changes of the service."),
    Topic.PAYMENT: _("Receipt for a top-up."),
    Topic.REFUND: _("When a top-up is refunded."),
    Topic.TOKEN_ENDED: _("With the reason."),
    Topic.TOKEN_PAUSED: _("After a chargeback that your balance did not cover."),
    Topic.LOGIN: _("From a browser or program you have not used before."),
}
TOKEN_HISTORY = {
    "used": _("Activated"),
    "paused": _("Paused"),
    "credited": _("Service outage"),
    "extended": _("Extended"),
    "renewed": _("Renewed"),
    "rotated": _("Secret rotated"),
    "revoked": _("Revoked"),
}
TARGETS = {
    InspectionTarget.EVERYTHING: _("All traffic"),
    InspectionTarget.PATH: _("Paths starting with"),
    InspectionTarget.TOKEN: _("A token"),
    InspectionTarget.USER: _("All tokens of a user"),
}
LEVELS = {Level.INFO: _("information"), Level.WARN: _("warning"), Level.BAD: _("critical")}
SCOPES = {
    "full": (_("Full access"), _("All pages of the service.")),
    "certificates_only": (_("Certificates only"), _("Certificate pages only.")),
}
STOPPED = {
    "redis": _("Redis is not responding: each worker enforces its share of the limits, and no jobs run."),
    "proxy": _("No proxy worker is reporting: requests may fail."),
    "jobs": _("No job worker is running: e-mails, payments and webhooks are delayed."),
    "scheduler": _("The scheduler is not responding: renewals, pauses and lost callbacks are not processed."),
}
PROVIDERS = {"mock": _("Test payment (no real money)"), "stripe": _("Card (Stripe)"), "yookassa": _("YooKassa")}

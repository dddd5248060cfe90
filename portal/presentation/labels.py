"""The names that pages give to values of the domain, in one place, so that they can be translated."""

from flask_babel import lazy_gettext as _

from models.access_tokens import TokenState
from models.announcements import Level
from models.audit import AuditAction
from models.inspections import Target
from models.ledger import TransferKind
from models.notification_preferences import Topic
from models.outbox import MailState
from models.payments import PaymentFailure, PaymentStatus, ReversalKind, ReversalState
from models.webhooks import DeliveryState

TOKEN_STATES = {
    TokenState.READY: _("ready"),
    TokenState.ACTIVE: _("running"),
    TokenState.PAUSED: _("paused"),
    TokenState.EXPIRED: _("expired"),
    TokenState.REVOKED: _("revoked"),
}
PAYMENT_STATUSES = {
    PaymentStatus.PENDING: _("pending"),
    PaymentStatus.SUCCEEDED: _("paid"),
    PaymentStatus.CANCELED: _("canceled"),
    PaymentStatus.EXPIRED: _("ran out"),
    PaymentStatus.REFUNDED: _("went back"),
}
PAYMENT_FAILURES = {
    PaymentFailure.DECLINED: _("declined"),
    PaymentFailure.ABANDONED: _("not paid in time"),
    PaymentFailure.WITHDRAWN: _("withdrawn by the payer"),
}
REVERSAL_KINDS = {ReversalKind.REFUND: _("Refund"), ReversalKind.DISPUTE: _("Dispute")}
REVERSAL_STATES = {
    ReversalState.REQUESTED: _("asked for"),
    ReversalState.DONE: _("done"),
    ReversalState.REFUSED: _("refused"),
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
    AuditAction.USER_REGISTERED_AGAIN: _("Registered again"),
    AuditAction.USER_LOGGED_IN: _("Logged in"),
    AuditAction.USER_LOGIN_FAILED: _("Login failed"),
    AuditAction.USER_LOGGED_OUT: _("Logged out"),
    AuditAction.USER_LOGINS_ENDED: _("Logins ended"),
    AuditAction.USER_PASSWORD_CHANGED: _("Password changed"),
    AuditAction.USER_PASSWORD_RESET_ASKED: _("Link for a new password asked for"),
    AuditAction.USER_PASSWORD_RESET: _("Password set by a link"),
    AuditAction.USER_EMAIL_CONFIRMED: _("E-mail confirmed"),
    AuditAction.USER_EMAIL_CHANGED: _("E-mail changed"),
    AuditAction.USER_DELETED: _("Account deleted"),
    AuditAction.USER_EXPORTED: _("Own data exported"),
    AuditAction.USER_VIEWED: _("Viewed by an admin"),
    AuditAction.TWO_FACTOR_ON: _("Two-factor login turned on"),
    AuditAction.TWO_FACTOR_OFF: _("Two-factor login turned off"),
    AuditAction.TWO_FACTOR_RESET: _("Two-factor login reset"),
    AuditAction.RECOVERY_CODE_USED: _("Recovery code used"),
    AuditAction.RECOVERY_CODES_MADE: _("New recovery codes"),
    AuditAction.USER_DISABLED: _("Account disabled"),
    AuditAction.USER_CHANGED: _("Name changed"),
    AuditAction.USER_PROMOTED: _("Made an admin"),
    AuditAction.USER_DEMOTED: _("No admin any more"),
    AuditAction.API_KEY_MADE: _("API key made"),
    AuditAction.API_KEY_ENDED: _("API key ended"),
    AuditAction.USER_NOTED: _("Note written"),
    AuditAction.USER_ENABLED: _("Account enabled"),
    AuditAction.BALANCE_ADJUSTED: _("Balance adjusted"),
    AuditAction.PAYMENT_CREATED: _("Payment started"),
    AuditAction.PAYMENT_SETTLED: _("Payment settled"),
    AuditAction.PAYMENT_CANCELED: _("Payment canceled"),
    AuditAction.PAYMENT_EXPIRED: _("Payment ran out"),
    AuditAction.PAYMENT_REFUND_REQUESTED: _("Refund asked for"),
    AuditAction.PAYMENT_REFUND_REFUSED: _("Refund refused"),
    AuditAction.PAYMENT_REFUNDED: _("Payment refunded"),
    AuditAction.PAYMENT_DISPUTED: _("Payment disputed"),
    AuditAction.PAYMENT_DISPUTE_WON: _("Dispute won"),
    AuditAction.PAYMENT_REVIEWED: _("Payment looked at"),
    AuditAction.PAYMENT_NEEDS_REVIEW: _("Payment to be looked at"),
    AuditAction.TOKEN_PURCHASED: _("Token bought"),
    AuditAction.TOKEN_ACTIVATED: _("Token first used"),
    AuditAction.TOKEN_REVOKED: _("Token revoked"),
    AuditAction.TOKEN_PAUSED: _("Token paused"),
    AuditAction.TOKEN_RESUMED: _("Token resumed"),
    AuditAction.TOKEN_EXTENDED: _("Token extended"),
    AuditAction.TOKEN_RENAMED: _("Token renamed"),
    AuditAction.TOKEN_ROTATED: _("Secret replaced"),
    AuditAction.TOKEN_SECRET_ENDED: _("Old secret ended"),
    AuditAction.TOKEN_AUTO_RENEW_SET: _("Auto-renewal changed"),
    AuditAction.TOKEN_RENEWED: _("Token renewed"),
    AuditAction.TOKEN_RENEWAL_STOPPED: _("Auto-renewal stopped"),
    AuditAction.TOKEN_CREDITED: _("Outage credited"),
    AuditAction.TOKEN_FORCE_REVOKED: _("Token ended by an admin"),
    AuditAction.INSPECTION_STARTED: _("Inspection started"),
    AuditAction.INSPECTION_ENDED: _("Inspection ended"),
    AuditAction.ANNOUNCEMENT_CHANGED: _("Announcement changed"),
    AuditAction.JOB_CHANGED: _("Job run again or removed"),
    AuditAction.SETTING_CHANGED: _("Setting changed"),
    AuditAction.BUNDLE_PURCHASED: _("Bundle bought"),
    AuditAction.BUNDLE_CHANGED: _("Bundle changed"),
    AuditAction.COUPON_CHANGED: _("Coupon changed"),
    AuditAction.GIFTS_MADE: _("Gift codes made"),
    AuditAction.GIFT_CHANGED: _("Gift code changed"),
    AuditAction.GIFT_REDEEMED: _("Gift code used"),
    AuditAction.BONUS_EARNED: _("Bonus earned"),
    AuditAction.BONUS_CORRECTED: _("Bonus corrected"),
    AuditAction.BONUS_LAPSED: _("Bonus lapsed"),
    AuditAction.BONUS_VESTED: _("Bonus credited"),
    AuditAction.TOKEN_ISSUED: _("Token issued"),
    AuditAction.TICKET_ISSUED: _("Browser link issued"),
    AuditAction.COOKIE_OPENED: _("Browser let in"),
    AuditAction.SESSION_OPENED: _("Session opened"),
    AuditAction.SESSION_TAKEN_OVER: _("Session taken over"),
    AuditAction.SESSION_CUT: _("Session cut"),
    AuditAction.SESSION_RELEASED: _("Session released"),
    AuditAction.MAIL_SENT_AGAIN: _("Mail sent again"),
    AuditAction.WEBHOOK_CHANGED: _("Webhook changed"),
    AuditAction.WEBHOOK_SENT_AGAIN: _("Webhook delivery sent again"),
}
MAIL_STATES = {MailState.WAITING: _("waiting"), MailState.FAILED: _("given up"), MailState.SENT: _("sent")}
DELIVERY_STATES = {
    DeliveryState.WAITING: _("waiting"),
    DeliveryState.DEAD: _("given up"),
    DeliveryState.DELIVERED: _("arrived"),
}
TOPICS = {
    Topic.TOKEN_EXPIRING: _("A token is about to end"),
    Topic.RENEWAL: _("Auto-renewal"),
    Topic.OUTAGE_CREDIT: _("Credit for an outage"),
    Topic.BALANCE_LOW: _("The balance is low"),
    Topic.BONUS: _("A bonus is credited"),
    Topic.ANNOUNCEMENT: _("Announcements"),
    Topic.PAYMENT: _("A payment has arrived"),
    Topic.REFUND: _("Money goes back"),
    Topic.TOKEN_ENDED: _("A token is ended by an admin"),
    Topic.LOGIN: _("A login from a new device"),
}
# What an audit row is about.
RESOURCES = {
    "user": _("Person"),
    "token": _("Token"),
    "session": _("Session"),
    "payment": _("Payment"),
    "bundle_purchase": _("Bundle bought"),
    "referral": _("Bonus"),
    "gift_code": _("Gift code"),
    "coupon": _("Coupon"),
    "bundle": _("Bundle"),
    "login": _("Login"),
    "api_key": _("API key"),
    "webhook": _("Webhook"),
    "mail": _("Mail"),
    "announcement": _("Announcement"),
    "inspection": _("Inspection"),
    "setting": _("Setting"),
    "job": _("Job"),
}
# What a mail or a webhook's event is about, by the name of its kind.
KINDS = {
    "account_deleted": _("Account deleted"),
    "announcement": _("Announcement"),
    "backup_failed": _("Backup failed (to admins)"),
    "balance_low": _("The balance is low"),
    "bonus": _("A bonus is credited"),
    "change_email": _("Confirm a new address"),
    "confirm_email": _("Confirm the address"),
    "email_changed": _("Address changed"),
    "ledger_fault": _("The books do not add up (to admins)"),
    "login": _("A login from a new device"),
    "money_back": _("Money goes back"),
    "outage_credit": _("Credit for an outage"),
    "password_changed": _("Password changed"),
    "payment": _("A payment has arrived"),
    "registered_again": _("Registered again"),
    "renewal_ahead": _("A renewal is ahead"),
    "renewal_price": _("The price of a renewal has risen"),
    "renewal_stopped": _("Auto-renewal stopped"),
    "renewed": _("Token renewed"),
    "reset_password": _("Link for a new password"),
    "sign_in": _("Link to finish a login"),
    "test": _("Test"),
    "token_expiring": _("A token is about to end"),
    "token_revoked": _("A token is ended by an admin"),
    "two_factor_off": _("Two-factor login turned off"),
    "two_factor_on": _("Two-factor login turned on"),
    "two_factor_reset": _("Two-factor login reset"),
    "viewed": _("Viewed by an admin"),
    "webhook_disabled": _("Webhook switched off"),
    "welcome": _("Welcome"),
}
TOPIC_HELP = {
    Topic.TOKEN_EXPIRING: _("Some hours before a running token ends that does not renew itself."),
    Topic.RENEWAL: _("Before a token renews itself, after it has, and when it cannot."),
    Topic.OUTAGE_CREDIT: _("When lost time is given back to your tokens."),
    Topic.BALANCE_LOW: _("When it falls below what you set beneath this table."),
    Topic.BONUS: _("For somebody whom you invited."),
    Topic.ANNOUNCEMENT: _("Planned work and changes of the service."),
    Topic.PAYMENT: _("The receipt of a top-up."),
    Topic.REFUND: _("When we pay a top-up back."),
    Topic.TOKEN_ENDED: _("With the reason."),
    Topic.LOGIN: _("With a browser or program that you have not used before."),
}
TOKEN_HISTORY = {
    "used": _("First used"),
    "paused": _("Paused"),
    "credited": _("Outage of the service"),
    "extended": _("Extended"),
    "renewed": _("Renewed"),
    "rotated": _("Secret replaced"),
    "revoked": _("Revoked"),
}
TARGETS = {
    Target.EVERYTHING: _("All traffic"),
    Target.PATH: _("Paths that begin with"),
    Target.TOKEN: _("A token"),
    Target.USER: _("All tokens of a user"),
}
LEVELS = {Level.INFO: _("news"), Level.WARN: _("warning"), Level.BAD: _("trouble")}
SCOPES = {
    "full": (_("Everything"), _("Every address of the service.")),
    "certificates_only": (_("Certificates only"), _("Certificate pages and nothing else.")),
}
STOPPED = {
    "redis": _("Redis does not answer: each worker keeps to its share of the limits, and no job runs."),
    "proxy": _("No worker of the proxy reports: requests of buyers may fail."),
    "jobs": _("Nobody takes jobs: mails, settled payments and webhooks wait."),
    "scheduler": _("The scheduler is silent: renewals, pauses and lost callbacks are not looked after."),
}
PROVIDERS = {"mock": _("Test payment (no real money)"), "stripe": _("Card (Stripe)"), "yookassa": _("YooKassa")}

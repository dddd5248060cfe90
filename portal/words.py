"""The words that pages use for values of the domain, in one place, so that they can be translated."""

import re
from decimal import Decimal

from flask_babel import lazy_gettext as _

from models.announcements import Level
from models.audit import AuditAction
from models.inspections import Target
from models.ledger import Transfer, TransferKind
from models.notices import Topic
from models.outbox import MailState
from models.payments import PaymentStatus, ReversalKind, ReversalState
from models.services.errors import (
    DebtOpen,
    DomainError,
    InsufficientFunds,
    InvalidInput,
    PauseTooShort,
    PriceChanged,
    TokenEnded,
    TokenUnusable,
)
from models.tokens import TokenState
from models.webhooks import DeliveryState
from portal.i18n import format_decimal, gettext, ngettext

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
    AuditAction.BONUS_VESTED: _("Bonus paid out"),
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
    Topic.BONUS: _("A bonus is paid out"),
    Topic.ANNOUNCEMENT: _("Announcements"),
    Topic.PAYMENT: _("A payment has arrived"),
    Topic.REFUND: _("Money goes back"),
    Topic.TOKEN_ENDED: _("A token is ended by an admin"),
    Topic.LOGIN: _("A login from a new device"),
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
PROVIDERS = {"mock": _("Test payment (no real money)"), "stripe": _("Card (Stripe)"), "yookassa": _("YooKassa")}

# What the services say to people, listed here so that the translators find it.
SERVICE_SENTENCES = (
    _("Write an address like https://example.org/hook."),
    _("The address must begin with https://."),
    _("The address must not hold a password or a #."),
    _("This port is not one that web servers use."),
    _("This address leads into a private network."),
    _("You have as many webhooks as you can. Remove one first."),
    _("Choose at least one thing to be told about."),
    _("The name of the host cannot be resolved."),
    _("The host is in a private network."),
    _("TLS failed."),
    _("No answer in time."),
    _("The connection was refused."),
    _("The connection failed or the answer is no HTTP."),
    _("A redirect is not followed."),
    _("The secret cannot be read any more. Make a new one."),
    _("The webhook is switched off."),
    _("This account is disabled."),
    _("This does not look like an e-mail address."),
    _("Use 3 to 50 letters, digits, points, hyphens or underscores."),
    _("Use 8 to 128 characters."),
    _("Use at most 50 characters."),
    _("Use letters, digits and signs only, on one line."),
    _("The amount must be a number."),
    _("This is not your current password."),
    _("This user name is taken."),
    _("This duration is not for sale."),
    _("There is no such scope."),
    _("Give a reason of 3 to 200 characters."),
    _("Write an amount like 50 or 12.34, with at most two digits after the point."),
    _("The amount must not be zero."),
    _("The amount must be above zero."),
    _("The e-mail address or the password is wrong."),
    _("The last admin cannot be removed."),
    _("This link has expired."),
    _("A payment is still waiting. Come back when it has arrived or run out."),
    _("The portal cannot be viewed as this user."),
    _("Enter the code of your authenticator app."),
    _("This code is wrong or was used already."),
    _("Two-factor login is on already."),
    _("Too many attempts. Please try again later."),
    _("This has been booked already."),
    _("Another device is using this token."),
    _("The secret was replaced already. The new one was shown once."),
    _("The service is out of order, and the lost time will be credited. A pause can begin afterwards."),
    _("This token has been paused as often as it can be."),
    _("Write a month like 2026-11."),
    _("Choose a range of at most a year."),
    _("A bundle has 2 to 100 tokens."),
    _("The discount is 0 to 90 percent."),
    _("Give either a percentage or an amount."),
    _("The percentage is above 0 and below 100."),
    _("A limit is 1 or more."),
    _("This code is taken."),
    _("Make 1 to 1000 codes at once."),
    _("There is no such coupon."),
    _("This coupon is not valid any more."),
    _("This coupon has been used as often as it can be."),
    _("There is no such gift code."),
    _("This gift code is used up or not valid any more."),
    _("You have used this gift code already."),
    _("Nobody has this code."),
    _("Only admins can have such a key."),
    _("A key can last for 1 to 366 days."),
    _("You have 20 keys. End one that you do not need."),
    _("Bonus, held"),
    _("Bonus for an invitation"),
    _("Bonus on refunded money"),
    _("This payment cannot be refunded."),
    _("This is more than is left of the payment."),
    _("The payment provider does not answer. Please try again later."),
    _("Payment disputed"),
    _("Dispute won"),
    _("Paid back to you"),
    _("Refund refused by the provider"),
    _("Debt repaid"),
    _("This token has been paused for as long as it can be."),
    _("Somebody else has changed this meanwhile. Look at it again."),
    _("Write a whole number."),
    _("The end must come after the start, and after now."),
    _("This must be above zero."),
    _("This is too large."),
    _("This is too long."),
    _("At least one duration must be for sale."),
    _("This value does not fit."),
    _("Write one line for each duration, like 24 = 18."),
    _("Choose one of the times."),
    _("Too many are running; end one first."),
    _("Write the beginning of a path, like /certificates/."),
    _("Several tokens begin so; write the id of one."),
    _("There is no such token."),
    _("There is no such user."),
    _("The path must start with a slash."),
    _("The path holds a space or a control byte."),
    _("The path holds a backslash."),
    _("The path holds a fragment."),
    _("The path holds an empty segment."),
    _("The path holds a broken escape."),
    _("The path holds an encoded slash or backslash."),
    _("The path holds an encoded control byte."),
    _("The path holds a dot segment."),
    _("The path is escaped twice."),
    _("The path holds an overlong character."),
)
_MORE_TIME = " h more for token "
_FIRST_NUMBER = re.compile(r"\d+")


def sentence(error: DomainError) -> str:  # noqa: PLR0911 - one for each kind
    """Say in the reader's language what the domain refused."""
    match error:
        case DebtOpen():
            owed = amount(error.debt)
            return gettext(
                "A payment was taken back, and %(debt)s ZNC of it are still owed. A top-up repays them first.",
                debt=owed,
            )
        case InsufficientFunds():
            return gettext("The balance is too low: %(amount)s ZNC are needed.", amount=amount(error.needed))
        case PriceChanged():
            return gettext("The price has changed: it is %(amount)s ZNC now.", amount=amount(error.price))
        case TokenEnded():
            return gettext("This token is %(state)s already.", state=TOKEN_STATES[TokenState(error.state)])
        case TokenUnusable():
            return gettext("This token is %(state)s.", state=TOKEN_STATES[TokenState(error.state)])
        case PauseTooShort():
            return gettext("This pause cannot end before %(time)s UTC.", time=f"{error.until:%H:%M:%S}")
        case InvalidInput() if str(error).startswith("The amount must be at most "):
            limit = str(error).removeprefix("The amount must be at most ").rstrip(".")
            return gettext("The amount must be at most %(limit)s.", limit=amount(Decimal(limit)))
        case _:
            return gettext(str(error))


def amount(value: Decimal) -> str:
    """Write an amount with two places, as the reader's language does."""
    return format_decimal(value, "#,##0.00")


def price(value: Decimal) -> str:
    """Write a price of the list, without places when it is whole."""
    return format_decimal(value, "#,##0") if value == value.to_integral_value() else amount(value)


def duration(hours: int) -> str:
    """Write a duration that is for sale: hours up to a day, days from there."""
    if hours > 24 and hours % 24 == 0:
        return ngettext("%(num)d day", "%(num)d days", hours // 24)
    return ngettext("%(num)d hour", "%(num)d hours", hours)


def note(entry: Transfer) -> str:  # noqa: PLR0911 - one for each kind
    """Say what a transfer was for; an admin's reason stays in his own words."""
    match entry.kind:
        case TransferKind.PURCHASE if _MORE_TIME in entry.description:
            hours_more, _between, prefix = entry.description.partition(_MORE_TIME)
            return gettext("%(duration)s more for %(prefix)s", duration=duration(int(hours_more)), prefix=prefix)
        case TransferKind.PURCHASE if entry.reference_type == "bundle_purchase":
            return gettext("Bundle %(name)s", name=entry.description.removeprefix("Bundle "))
        case TransferKind.PURCHASE if hours := _FIRST_NUMBER.search(entry.description):
            return gettext("Token for %(duration)s", duration=duration(int(hours.group())))
        case TransferKind.REFUND:
            return gettext("Unused time of token %(prefix)s", prefix=entry.description.rpartition(" ")[2])
        case TransferKind.DEPOSIT:
            return gettext("Paid in")
        case TransferKind.REVERSAL | TransferKind.REFERRAL_BONUS:
            return gettext(entry.description)
        case TransferKind.GIFT:
            return gettext("Gift code %(prefix)s", prefix=entry.description.rpartition(" ")[2])
        case _:
            return entry.description


def scope_name(scope: str) -> str:
    """Return the scope's name; one that an operator added goes by its own."""
    return str(SCOPES[scope][0]) if scope in SCOPES else scope


def scope_help(scope: str) -> str:
    """Say what the scope opens."""
    return str(SCOPES[scope][1]) if scope in SCOPES else gettext("A scope set up by the operator.")

"""What the services say to people, in the language of the reader."""

from decimal import Decimal

from flask_babel import lazy_gettext as _

from models import time_zones
from models.access_tokens import TokenState
from models.services.errors import (
    AmountOutOfBounds,
    DebtOpen,
    DomainError,
    InsufficientFunds,
    InvalidInput,
    PauseTooShort,
    PaymentSpent,
    PriceChanged,
    ProviderRefused,
    TokenEnded,
    TokenUnusable,
)
from portal.i18n import gettext
from portal.presentation import labels
from portal.presentation.formatting import amount
from portal.request import context

# Listed here so that the translators find them.
SERVICE_SENTENCES = (
    _("Enter an address such as https://example.org/hook."),
    _("The address must begin with https://."),
    _("The address must not contain a password or a #."),
    _("This port is not used by web servers."),
    _("This address points to a private network."),
    _("You have reached the limit of webhooks. Delete one first."),
    _("Choose at least one topic."),
    _("The host name cannot be resolved."),
    _("The host is in a private network."),
    _("TLS handshake failed."),
    _("No response in time."),
    _("The connection was refused."),
    _("The connection failed, or the response is not HTTP."),
    _("Redirects are not followed."),
    _("The secret can no longer be read. Create a new one."),
    _("The webhook is disabled."),
    _("The receiver answered with an error."),
    _("This account is disabled."),
    _("Enter a valid e-mail address."),
    _("Use 3 to 50 letters, digits, dots, hyphens or underscores."),
    _("Use 8 to 128 characters."),
    _("This password is easy to guess. Do not use a common password, your name or your e-mail address."),
    _("This is the password that you have already. Choose another one."),
    _("Use at most 50 characters."),
    _("Use only printable characters on a single line."),
    _("Enter a number."),
    _("The current password is incorrect."),
    _("This username is already taken."),
    _("This duration is not available."),
    _("This scope does not exist."),
    _("Enter a reason of 3 to 200 characters."),
    _("Enter an amount such as 50 or 12.34, with at most two decimal places."),
    _("The amount cannot be zero."),
    _("The amount must be greater than zero."),
    _("Incorrect e-mail address or password."),
    _("The last admin cannot be removed."),
    _("This link has expired."),
    _("A payment is still pending. Try again once it is completed or canceled."),
    _("This user cannot be impersonated."),
    _("Enter the code from your authenticator app."),
    _("This code is incorrect or already used."),
    _("Two-factor authentication is already on."),
    _("Too many attempts. Please try again later."),
    _("This operation has already been recorded."),
    _("Another device is using this token."),
    _("The secret has already been replaced. The new one was shown once."),
    _("This was made already. Its secret was shown once."),
    _("The service is down, and the lost time will be credited. You can pause afterwards."),
    _("This token has used all its pauses."),
    _("Enter a month such as 2026-11."),
    _("Choose a range of up to one year."),
    _("A bundle contains 2 to 100 tokens."),
    _("The discount must be 0 to 90 percent."),
    _("Enter either a percentage or an amount."),
    _("The percentage must be above 0 and below 100."),
    _("The limit must be at least 1."),
    _("This code already exists."),
    _("Create 1 to 1000 codes at once."),
    _("Coupon not found."),
    _("This coupon is no longer valid."),
    _("This coupon has reached its usage limit."),
    _("Gift code not found."),
    _("This gift code is used up or no longer valid."),
    _("You have already redeemed this gift code."),
    _("Referral code not found."),
    _("Only admins can have such a key."),
    _("A key can be valid for 1 to 366 days."),
    _("You have 20 keys. Revoke one you do not need."),
    _("Pending bonus"),
    _("Referral bonus"),
    _("Debt of the former account"),
    _("Bonus reversed after a refund"),
    _("This payment cannot be refunded."),
    _("This exceeds what is left of the payment."),
    _("This dispute has already been recorded."),
    _("Nothing is left to record. Describe what you did and mark it as resolved."),
    _("The payment provider is not responding. Please try again later."),
    _("Payment disputed"),
    _("A balance differs from its transfers"),
    _("The sum over all accounts is not zero"),
    _("A settled payment does not have exactly its deposit"),
    _("Stored daily statistics differ from payments and deposits"),
    _("Refunds of a payment differ from what was debited for it"),
    _("A user with a debt has a balance"),
    _("A token's purchase differs from its price"),
    _("A bundle's purchase or its shares differ from its price"),
    _("The tokens of a bundle gave back more than was paid for them"),
    _("A deleted account has a balance"),
    _("A gift code's credits differ from its uses"),
    _("A referral bonus differs from its transfers"),
    _("A revoked token's refund differs from its transfer"),
    _("A transfer connects the wrong accounts for its kind and reference"),
    _("Disputed by the payer's bank"),
    _("Refunded at the provider"),
    _("Dispute won"),
    _("Refunded to you"),
    _("Refund rejected by the provider"),
    _("Debt repayment"),
    _("This token has used all its pause time."),
    _("This token was bought with money that was charged back. It resumes once the debt is repaid."),
    _("Someone else has changed this in the meantime. Please review it."),
    _("Enter a whole number."),
    _("The end must be after the start and in the future."),
    _("The value must be greater than zero."),
    _("The value is too large."),
    _("The text is too long."),
    _("This time zone does not exist."),
    _("At least one duration must be available."),
    _("This value is not valid."),
    _("Enter one line per duration, such as 24 = 18."),
    _("Choose a duration from the list."),
    _("Too many active inspections. End one first."),
    _("Enter the beginning of a path, such as /certificates/."),
    _("Several tokens start with this. Enter the full id."),
    _("Token not found."),
    _("User not found."),
    _("The path must start with a slash."),
    _("The path contains a space or a control byte."),
    _("The path contains a backslash."),
    _("The path contains a fragment."),
    _("The path contains an empty segment."),
    _("The path contains an invalid escape."),
    _("The path contains an encoded slash or backslash."),
    _("The path contains an encoded control byte."),
    _("The path contains a dot segment."),
    _("The path is double-escaped."),
    _("The path contains an overlong character."),
)


def message_of(error: DomainError) -> str:  # noqa: PLR0911 - one for each kind
    """Say in the reader's language what the domain refused."""
    match error:
        case DebtOpen():
            owed = amount(error.debt)
            return gettext(
                "A payment was reversed, and %(debt)s ZNC are still owed. A top-up repays them first.",
                debt=owed,
            )
        case InsufficientFunds():
            return gettext("Insufficient balance: %(amount)s ZNC required.", amount=amount(error.needed))
        case AmountOutOfBounds():
            least, most = amount(error.least), amount(error.most)
            return gettext("This payment method accepts %(least)s to %(most)s ZNC.", least=least, most=most)
        case ProviderRefused():
            return _refused_by_provider(error)
        case PaymentSpent():
            left = amount(error.unspent)
            return gettext("Of this payment %(amount)s ZNC are unspent; no more can be refunded.", amount=left)
        case PriceChanged():
            return gettext("The price has changed: it is now %(amount)s ZNC.", amount=amount(error.price))
        case TokenEnded():
            return gettext("This token is already %(state)s.", state=labels.TOKEN_STATES[TokenState(error.state)])
        case TokenUnusable():
            return gettext("This token is %(state)s.", state=labels.TOKEN_STATES[TokenState(error.state)])
        case PauseTooShort():
            zone = context.zone()
            until = f"{error.until.astimezone(zone):%H:%M:%S} {time_zones.offset_of(error.until, zone)}"
            return gettext("This pause cannot end before %(time)s.", time=until)
        case InvalidInput() if str(error).startswith("The amount must be at most "):
            limit = str(error).removeprefix("The amount must be at most ").rstrip(".")
            return gettext("The amount cannot exceed %(limit)s.", limit=amount(Decimal(limit)))
        case _:
            return gettext(str(error))


def _refused_by_provider(error: ProviderRefused) -> str:
    match error.reason:
        case "amount":
            return gettext("The payment provider does not accept this amount.")
        case "setup":
            return gettext("This payment method is currently unavailable. Choose another one or contact the shop.")
        case _:
            return gettext("The payment provider has refused this. %(said)s", said=str(error))

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
    _("The receiver answered with an error."),
    _("This account is disabled."),
    _("This does not look like an e-mail address."),
    _("Use 3 to 50 letters, digits, points, hyphens or underscores."),
    _("Use 8 to 128 characters."),
    _("This password is easy to guess. Do not use a common password, your name or your e-mail address."),
    _("This is the password that you have already. Choose another one."),
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
    _("This was made already. Its secret was shown once."),
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
    _("Debt of the former account"),
    _("Bonus on refunded money"),
    _("This payment cannot be refunded."),
    _("This is more than is left of the payment."),
    _("This dispute is booked already."),
    _("There is nothing left to book. Say what you have done and take it off the list."),
    _("The payment provider does not answer. Please try again later."),
    _("Payment disputed"),
    _("A balance differs from its transfers"),
    _("The sum over all accounts is not zero"),
    _("A settled payment does not have exactly its deposit"),
    _("What is kept of a day is not what its payments and deposits come to"),
    _("What went back of a payment is not what was taken for it"),
    _("Somebody who owes has money in the wallet"),
    _("A token was not paid for with exactly its price"),
    _("A bundle was not paid for with exactly its price, or its shares are not that price"),
    _("The tokens of a bundle gave back more than was paid for them"),
    _("Somebody who deleted the account has money"),
    _("A gift code was not credited once for each use"),
    _("A referral bonus is not what was booked for it"),
    _("A revoked token was not refunded with exactly its refund"),
    _("A transfer does not join the accounts that its kind and its reference name"),
    _("Disputed by the payer's bank"),
    _("Refunded at the provider"),
    _("Dispute won"),
    _("Paid back to you"),
    _("Refund refused by the provider"),
    _("Debt repaid"),
    _("This token has been paused for as long as it can be."),
    _("This token was bought with money that was charged back. It runs on once the debt is repaid."),
    _("Somebody else has changed this meanwhile. Look at it again."),
    _("Write a whole number."),
    _("The end must come after the start, and after now."),
    _("This must be above zero."),
    _("This is too large."),
    _("This is too long."),
    _("There is no such time zone."),
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
        case AmountOutOfBounds():
            least, most = amount(error.least), amount(error.most)
            return gettext("With this way to pay, top up from %(least)s to %(most)s ZNC.", least=least, most=most)
        case ProviderRefused():
            return _refused_by_provider(error)
        case PaymentSpent():
            left = amount(error.unspent)
            return gettext("Of this payment %(amount)s ZNC are unspent; no more can be refunded.", amount=left)
        case PriceChanged():
            return gettext("The price has changed: it is %(amount)s ZNC now.", amount=amount(error.price))
        case TokenEnded():
            return gettext("This token is %(state)s already.", state=labels.TOKEN_STATES[TokenState(error.state)])
        case TokenUnusable():
            return gettext("This token is %(state)s.", state=labels.TOKEN_STATES[TokenState(error.state)])
        case PauseTooShort():
            zone = context.zone()
            until = f"{error.until.astimezone(zone):%H:%M:%S} {time_zones.offset_of(error.until, zone)}"
            return gettext("This pause cannot end before %(time)s.", time=until)
        case InvalidInput() if str(error).startswith("The amount must be at most "):
            limit = str(error).removeprefix("The amount must be at most ").rstrip(".")
            return gettext("The amount must be at most %(limit)s.", limit=amount(Decimal(limit)))
        case _:
            return gettext(str(error))


def _refused_by_provider(error: ProviderRefused) -> str:
    match error.reason:
        case "amount":
            return gettext("The payment provider does not take this amount.")
        case "setup":
            return gettext("This way to pay is not available now. Choose another one, or write to the operator.")
        case _:
            return gettext("The payment provider has refused this. %(said)s", said=str(error))

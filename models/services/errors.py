"""What can go wrong in the domain. Each side maps these to its own answers in one place."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar


class DomainError(Exception):
    """The parent of every refusal by a rule; `str(error)` is a sentence for people."""

    @property
    def code(self) -> str:
        """A word for programs, from the class name: InsufficientFunds is `insufficient_funds`."""
        name = type(self).__name__
        return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class NotFound(DomainError):
    """The thing does not exist, or is a stranger's."""

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no such {what}.")
        self.what = what


class InvalidInput(DomainError):
    """A value was refused; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class AmountOutOfBounds(InvalidInput):
    """A payment provider takes amounts from `least` to `most` ZNC only."""

    def __init__(self, field: str, least: Decimal, most: Decimal) -> None:
        super().__init__(field, f"With this way to pay, top up from {least:.2f} to {most:.2f} ZNC.")
        self.least, self.most = least, most


class EmailTaken(DomainError):
    def __init__(self) -> None:
        super().__init__("This e-mail address already has an account.")


class UsernameTaken(DomainError):
    def __init__(self) -> None:
        super().__init__("This username is already taken.")


class LoginFailed(DomainError):
    """Wrong address or wrong password: the two are never told apart, nor from an address that is `unconfirmed`."""

    def __init__(self, *, unconfirmed: bool = False) -> None:
        wrong = "The e-mail address or the password is wrong"
        super().__init__(f"{wrong}, or the address is not confirmed yet." if unconfirmed else f"{wrong}.")


class LinkExpired(DomainError):
    """A mailed link that was used, is too old, is unknown, or is not good any more: never told apart."""

    def __init__(self) -> None:
        super().__init__("This link has expired.")


class OtpRequired(DomainError):
    """The password was right, and this user has a second factor."""

    def __init__(self) -> None:
        super().__init__("Enter the code from your authenticator app.")


class OtpInvalid(DomainError):
    """A code that is not the one of now, was used already, or is no recovery code."""

    def __init__(self) -> None:
        super().__init__("This code is incorrect or already used.")


class ProofNeeded(DomainError):
    """The password was right, but others fail on this account so often that it proves too little: a link is mailed."""

    def __init__(self) -> None:
        super().__init__("After many failed attempts to sign in, we have e-mailed you a link to finish signing in.")


class AccountDisabled(DomainError):
    def __init__(self) -> None:
        super().__init__("This account is disabled.")


class AccountClosed(AccountDisabled):
    """The account was deleted at this moment: nothing is credited to it any more."""


class ImpersonationNotAllowed(DomainError):
    """An admin may look at the portal as a user, but not as another admin or as nobody."""

    def __init__(self) -> None:
        super().__init__("This user cannot be impersonated.")


class PaymentPending(DomainError):
    """An account cannot be deleted while a payment for it is under way."""

    def __init__(self) -> None:
        super().__init__("A payment is still pending. Try again once it is completed or canceled.")


class LastSuperuser(DomainError):
    def __init__(self) -> None:
        super().__init__("The last admin cannot be removed.")


class SettingChanged(DomainError):
    """Somebody else changed this setting since the reader saw it."""

    def __init__(self) -> None:
        super().__init__("Someone else has changed this in the meantime. Please review it.")


class PriceChanged(DomainError):
    """What is to be bought costs `price` ZNC now, which is not what the buyer was shown."""

    def __init__(self, price: Decimal) -> None:
        super().__init__(f"The price has changed: it is {price:.2f} ZNC now.")
        self.price = price


class TooManyAttempts(DomainError):
    """A limit was reached; `resets_in` says when to come back."""

    def __init__(self, resets_in: timedelta) -> None:
        super().__init__("Too many attempts. Please try again later.")
        self.resets_in = resets_in


class InsufficientFunds(DomainError):
    """The wallet does not hold `needed` ZNC."""

    def __init__(self, needed: Decimal) -> None:
        super().__init__(f"The balance is too low: {needed:.2f} ZNC are needed.")
        self.needed = needed


class DebtOpen(InsufficientFunds):
    """The user owes `debt` ZNC from a payment that was taken back, and cannot spend before it is repaid."""

    def __init__(self, debt: Decimal, price: Decimal) -> None:
        super().__init__(debt + price)
        self.args = (f"A payment was taken back, and {debt:.2f} ZNC of it are still owed. A top-up repays them first.",)
        self.debt = debt


class DuplicateTransfer(DomainError):
    """A transfer with this idempotency key is booked already; nothing was moved again."""

    def __init__(self, idempotency_key: str) -> None:
        super().__init__("This operation has already been recorded.")
        self.idempotency_key = idempotency_key


class IdempotencyKeyReused(DomainError):
    """An Idempotency-Key came again, with another request."""

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request.")


class IdempotentRequestInProgress(DomainError):
    """A request with the same Idempotency-Key is being carried out at this moment."""

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is being carried out.")


class TokenEnded(DomainError):
    """The token is revoked or has expired, so there is nothing left to change."""

    def __init__(self, state: str) -> None:
        super().__init__(f"This token is {state} already.")
        self.state = state


class TokenUnusable(DomainError):
    """A token that admission took for good cannot be used any more; `state` says why."""

    def __init__(self, state: str) -> None:
        super().__init__(f"This token is {state}.")
        self.state = state


class MadeAlready(DomainError):
    """The form that makes a secret was sent before, and what it made is there."""

    def __init__(self) -> None:
        super().__init__("This was made already. Its secret was shown once.")


class AlreadyRotated(DomainError):
    """There is a newer secret, or a newer set of codes, than the one that the user saw when asking for another."""

    def __init__(self) -> None:
        super().__init__("The secret has already been replaced. The new one was shown once.")


class PauseRefused(DomainError):
    """A token may not be paused now; `reason` is `outage`, `too_many`, `used_up` or `debt`."""

    SENTENCES: ClassVar[dict[str, str]] = {
        "outage": "The service is down, and the lost time will be credited. You can pause afterwards.",
        "too_many": "This token has used all its pauses.",
        "used_up": "This token has used all its pause time.",
        "debt": "This token was bought with money that was charged back. It resumes once the debt is repaid.",
    }

    def __init__(self, reason: str) -> None:
        super().__init__(self.SENTENCES[reason])
        self.reason = reason


class PauseTooShort(DomainError):
    """A pause has a least length; it cannot end before `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"This pause cannot end before {until:%H:%M:%S} UTC.")
        self.until = until


class TicketRefused(DomainError):
    """A ticket for a browser that is used, too old, unknown, or of a token that has ended: never told apart."""

    def __init__(self) -> None:
        super().__init__("This link has expired.")


class DeviceConflict(DomainError):
    """Another device holds the token's session, and does so for `idle_in` more at least."""

    def __init__(self, idle_in: timedelta) -> None:
        super().__init__("Another device is using this token.")
        self.idle_in = idle_in


class CallbackRefused(DomainError):
    """A payment callback that cannot be trusted, or does not match our payment; nothing was changed."""


class NotRefundable(DomainError):
    """A payment that was not settled, or went back already, cannot go back."""

    def __init__(self) -> None:
        super().__init__("This payment cannot be refunded.")


class PaymentSpent(DomainError):
    """More is to be refunded of a payment than its `unspent` ZNC are worth."""

    def __init__(self, unspent: Decimal) -> None:
        super().__init__(f"Of this payment {unspent:.2f} ZNC are unspent; no more can be refunded.")
        self.unspent = unspent


class ProviderRefused(DomainError):
    """The payment provider will not do what it was asked, now or later; the message is its own.

    `reason` is `amount` for one that it does not take, `setup` for keys or an account that it does not accept.
    """

    def __init__(self, message: str, *, reason: str = "other") -> None:
        super().__init__(message)
        self.reason = reason


class ProviderDown(DomainError):
    """The payment provider cannot be reached or does not answer sensibly; asking again later may help."""

    def __init__(self) -> None:
        super().__init__("The payment provider is not responding. Please try again later.")


class CouponRefused(DomainError):
    """A coupon cannot be used for this purchase; `reason` is `unknown`, `over` or `used_up`."""

    SENTENCES: ClassVar[dict[str, str]] = {
        "unknown": "Coupon not found.",
        "over": "This coupon is no longer valid.",
        "used_up": "This coupon has reached its usage limit.",
    }

    def __init__(self, reason: str) -> None:
        super().__init__(self.SENTENCES[reason])
        self.reason = reason


class GiftRefused(DomainError):
    """A gift code cannot be taken; `reason` is `unknown`, `over` or `taken`."""

    SENTENCES: ClassVar[dict[str, str]] = {
        "unknown": "Gift code not found.",
        "over": "This gift code is used up or no longer valid.",
        "taken": "You have already redeemed this gift code.",
    }

    def __init__(self, reason: str) -> None:
        super().__init__(self.SENTENCES[reason])
        self.reason = reason

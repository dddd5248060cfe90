"""Domain errors: a stable code and parameters; models/services/messages.py turns them into text for people."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

type Parameter = str | int | Decimal | datetime


class DomainError(Exception):
    """The parent of every refusal by a business rule. `str(error)` is for logs: the code with its parameters."""

    # Classes whose code depends on a reason name all of them, so that a test finds those without a message.
    REASONS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, code: str | None = None, **params: Parameter) -> None:
        self.code = code or self.kind
        self.params: Mapping[str, Parameter] = params
        super().__init__(self.code)

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.code} ({values})" if values else self.code

    @property
    def kind(self) -> str:
        """The class as a word for programs: InsufficientFunds is `insufficient_funds`."""
        return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(self).__name__)[1:]


class NotFound(DomainError):
    """The object does not exist, or belongs to another user; the code is `token_not_found` and the like."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}_not_found")


class InvalidInput(DomainError):
    """A value was refused; `field` names it, and `code` says why."""

    def __init__(self, field: str, code: str, **params: Parameter) -> None:
        super().__init__(code, **params)
        self.field = field


class AmountOutOfBounds(InvalidInput):
    """A payment provider takes amounts from `least` to `most` ZNC only."""

    def __init__(self, field: str, least: Decimal, most: Decimal) -> None:
        super().__init__(field, "amount_out_of_bounds", least=least, most=most)
        self.least, self.most = least, most


class EmailTaken(DomainError):
    """The e-mail address already has an account."""


class UsernameTaken(DomainError):
    """The username already has an account."""


class LoginFailed(DomainError):
    """Wrong address or wrong password: never distinguished, nor from an address that is not confirmed."""

    def __init__(self, *, unconfirmed: bool = False) -> None:
        super().__init__("login_failed_or_unconfirmed" if unconfirmed else "login_failed")


class LinkExpired(DomainError):
    """A mailed link that is used, too old, unknown or no longer valid: never distinguished."""


class OtpRequired(DomainError):
    """The password is right, and this user has a second factor."""


class OtpInvalid(DomainError):
    """A one-time code that is wrong or already used, or an unknown recovery code."""


class ProofNeeded(DomainError):
    """The password is right, but so many logins to this account fail that a mailed link is needed, too."""


class AccountDisabled(DomainError):
    """The account is disabled."""


class AccountClosed(AccountDisabled):
    """The account was deleted concurrently: nothing can be credited to it."""


class ImpersonationNotAllowed(DomainError):
    """Admins can impersonate active users only, and no other admin."""


class PaymentPending(DomainError):
    """An account cannot be deleted while it has a pending payment."""


class LastSuperuser(DomainError):
    """The last admin can be neither demoted, disabled nor deleted."""


class SettingChanged(DomainError):
    """Another admin has changed this setting since the page was loaded."""


class PriceChanged(DomainError):
    """The price is `price` ZNC now, which is not what the buyer was shown."""

    def __init__(self, price: Decimal) -> None:
        super().__init__(amount=price)
        self.price = price


class TooManyAttempts(DomainError):
    """A rate limit was reached; it resets in `resets_in`."""

    def __init__(self, resets_in: timedelta) -> None:
        super().__init__()
        self.resets_in = resets_in


class InsufficientFunds(DomainError):
    """The wallet does not have `needed` ZNC."""

    def __init__(self, needed: Decimal) -> None:
        super().__init__(amount=needed)
        self.needed = needed


class DebtOpen(InsufficientFunds):
    """The user owes `debt` ZNC from a reversed payment, and cannot buy before it is repaid."""

    def __init__(self, debt: Decimal, price: Decimal) -> None:
        super().__init__(debt + price)
        self.debt, self.params = debt, {"debt": debt}


class DuplicateTransfer(DomainError):
    """A transfer with this idempotency key is booked already; nothing was moved again."""

    def __init__(self, idempotency_key: str) -> None:
        super().__init__()
        self.idempotency_key = idempotency_key


class IdempotencyKeyReused(DomainError):
    """An Idempotency-Key was sent again with another request."""


class IdempotentRequestInProgress(DomainError):
    """A request with the same Idempotency-Key is in progress."""


class TokenEnded(DomainError):
    """The token is revoked or has expired, so that nothing about it can change."""

    def __init__(self, state: str) -> None:
        super().__init__(state=state)
        self.state = state


class TokenUnusable(DomainError):
    """The token's state does not allow this; `state` says which one it is."""

    def __init__(self, state: str) -> None:
        super().__init__(state=state)
        self.state = state


class AlreadyCreated(DomainError):
    """The form that creates a secret was sent twice; the secret exists and was shown once."""


class AlreadyRotated(DomainError):
    """There is a newer secret, or newer recovery codes, than those on the page that asked for a replacement."""


class PauseRefused(DomainError):
    """A token cannot be paused now; `reason` says why."""

    REASONS = ("outage", "too_many", "used_up", "debt")

    def __init__(self, reason: str) -> None:
        super().__init__(f"pause_refused_{reason}")
        self.reason = reason


class PauseTooShort(DomainError):
    """A pause has a minimum length; it cannot end before `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__(time=until)
        self.until = until


class TicketRefused(DomainError):
    """A one-time browser ticket that is used, too old, unknown, or of an ended token: never distinguished."""


class DeviceConflict(DomainError):
    """Another device has the token's session, and keeps it for at least `idle_in`."""

    def __init__(self, idle_in: timedelta) -> None:
        super().__init__()
        self.idle_in = idle_in


class CallbackRefused(DomainError):
    """A payment callback that cannot be trusted or stored; nothing was changed."""

    REASONS = (
        *("malformed", "signature_invalid", "stale", "unsigned", "untrusted_address"),
        *("name_invalid", "amount_invalid", "not_storable"),
    )

    def __init__(self, reason: str) -> None:
        super().__init__(f"callback_{reason}")
        self.reason = reason


class NotRefundable(DomainError):
    """A payment that is not settled, or already refunded, cannot be refunded."""


class PaymentSpent(DomainError):
    """The refund would take more than the payment's `unspent` ZNC."""

    def __init__(self, unspent: Decimal) -> None:
        super().__init__(amount=unspent)
        self.unspent = unspent


class ProviderRefused(DomainError):
    """The payment provider refuses for good; `message` is its own text.

    `reason` is `amount` for one that it does not take, `setup` for keys or an account that it does not accept.
    """

    REASONS = ("amount", "setup", "other")

    def __init__(self, message: str, *, reason: str = "other") -> None:
        super().__init__(f"provider_refused_{reason}", reason=message)
        self.message, self.reason = message, reason


class ProviderDown(DomainError):
    """The payment provider cannot be reached or its reply is invalid; a later try may succeed."""


class CouponRefused(DomainError):
    """A coupon cannot be used for this purchase; `reason` says why."""

    REASONS = ("unknown", "over", "used_up")

    def __init__(self, reason: str) -> None:
        super().__init__(f"coupon_refused_{reason}")
        self.reason = reason


class GiftRefused(DomainError):
    """A gift code cannot be redeemed; `reason` says why."""

    REASONS = ("unknown", "over", "taken")

    def __init__(self, reason: str) -> None:
        super().__init__(f"gift_refused_{reason}")
        self.reason = reason

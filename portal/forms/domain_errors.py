"""Show a domain error to the user: at the form that caused it, or as a flash message on the next page."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import flash

from models.services.errors import (
    AlreadyCreated,
    AlreadyRotated,
    CouponRefused,
    DomainError,
    DuplicateTransfer,
    GiftRefused,
    ImpersonationNotAllowed,
    InsufficientFunds,
    InvalidInput,
    LastSuperuser,
    NotFound,
    NotRefundable,
    OtpInvalid,
    OtpRequired,
    PaymentPending,
    PaymentSpent,
    PriceChanged,
    ProviderDown,
    ProviderRefused,
    TooManyAttempts,
    UsernameTaken,
)
from portal.forms.base import Form
from portal.presentation.error_messages import message_of

# The field that shows an error, and the status of the page with the form. Without such a field the error is shown above
# the form; InvalidInput names its own field.
FORM_ERRORS: dict[type[DomainError], tuple[str, int]] = {
    InvalidInput: ("", 400),
    UsernameTaken: ("username", 400),
    OtpRequired: ("code", 400),
    OtpInvalid: ("code", 400),
    CouponRefused: ("coupon", 400),
    GiftRefused: ("code", 400),
    NotRefundable: ("amount", 400),
    PaymentSpent: ("amount", 400),
    LastSuperuser: ("", 400),
    PaymentPending: ("", 400),
    ImpersonationNotAllowed: ("", 400),
    InsufficientFunds: ("amount", 402),
    PriceChanged: ("", 409),
    ProviderRefused: ("", 503),
    ProviderDown: ("", 503),
}
# The change was made before, by the same form: the user gets a flash message instead of a second change.
REPEATED = (DuplicateTransfer, AlreadyCreated, AlreadyRotated)
# These have error pages of their own.
NOT_FLASHED = (NotFound, TooManyAttempts)


@dataclass(slots=True)
class ChangeResult:
    """Result of a change: `error` is the domain error that was shown, and `status` that of the form's page."""

    error: DomainError | None = None
    status: int = 200

    @property
    def is_done(self) -> bool:
        """Whether the change was made."""
        return self.error is None and self.status < 400

    @property
    def is_form_error(self) -> bool:
        """Whether the form has to be shown again."""
        return self.status >= 400


@contextmanager
def form_errors(form: Form, *, repeated: str = "") -> Iterator[ChangeResult]:
    """Add a domain error of the block to the form; a repeated change is flashed as `repeated` or as its own message.

    Errors that are not in `FORM_ERRORS` are raised again.
    """
    result = ChangeResult()
    try:
        yield result
    except REPEATED as error:
        result.error = error
        flash(repeated or message_of(error), "info")
    except tuple(FORM_ERRORS) as error:
        field, result.status = next(found for kind, found in FORM_ERRORS.items() if isinstance(error, kind))
        if isinstance(error, ProviderRefused) and error.reason == "amount":
            field, result.status = "amount", 400
        result.error = error
        form.add_error(error, field)


@contextmanager
def flashed_errors(done: str = "", *, category: str = "bad") -> Iterator[ChangeResult]:
    """Flash a domain error of the block, or `done` without one. NotFound and TooManyAttempts are raised again."""
    result = ChangeResult()
    try:
        yield result
    except NOT_FLASHED:
        raise
    except DomainError as error:
        result.error = error
        flash(message_of(error), category)
    else:
        if done:
            flash(done, "good")

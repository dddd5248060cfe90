"""Brakes against guessing passwords and codes. Each limit is a function whose first sentence is the limit in words.

Somebody else's failures never shut out the owner of an account: a browser or an address from which the account has been
used before is counted by itself, and elsewhere the right password still leads in while others fail on the account: by a
code of the second factor, or by a link in the mail.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from flask import Flask, current_app, g, request

from models.config.settings import Settings
from models.services.accounts import known_devices
from models.services.errors import AccountDisabled, EmailTaken, InvalidInput, LoginFailed, OtpInvalid, TooManyAttempts
from models.users import User
from portal.i18n import is_api_path
from portal.request import auth, context
from portal.request.failed_attempts import Attempt, FailedAttempts, Limit
from portal.request.rate_limits import Allowance, network_of

CODES_PER_HOUR = 20
# So many times its limit an address may fail before nothing of it is checked any more: each check costs a hash.
BLOCKING_FACTOR = 10
FAILURES = (LoginFailed, OtpInvalid, AccountDisabled)


def init_app(app: Flask, settings: Settings) -> None:
    """Make this app's counts."""
    app.extensions["zenzefi-failed-attempts"] = FailedAttempts(settings)


@contextmanager
def login_attempt(email: str) -> Iterator[Attempt]:
    """A client may fail to log in to an account 5 times an hour (`limits.auth_per_hour`), then waits, longer each time.

    An address may fail 30 times an hour over all accounts (`limits.auth_per_address`), and an account from all
    addresses together 5 times; neither counts a client that is known to the account. Raises TooManyAttempts. Beyond
    these two passwords are still checked, since somebody else may have failed there (for an address, up to ten times
    its limit): ask `needs_mail`.
    """
    limits, source = context.settings().limits, _source(email)
    own = Limit(f"login:{source.name}", limits.auth_per_hour)
    g.shown_limit = own
    account = Limit(f"account:{source.account}", limits.auth_per_hour, blocks=False)
    others = () if source.is_known else (*_address_limits(), account)
    with _counted((own, *others), own=own) as attempt:
        yield attempt


def needs_mail(attempt: Attempt) -> bool:
    """Say whether an unknown client's right password has to be followed by a link in the mail.

    That is so beyond the limit of the account or of the address: the password may be a guess that hit at last. Where no
    mail is sent the password is enough, since nothing else could prove whose the account is.
    """
    return attempt.longest_wait > timedelta() and context.frozen_settings().mail.is_configured


def refuse_beyond(attempt: Attempt) -> None:
    """Raise TooManyAttempts after a failure beyond a limit that does not block."""
    if attempt.longest_wait > timedelta():
        raise TooManyAttempts(attempt.longest_wait)


@contextmanager
def code_attempt(user: User) -> Iterator[Attempt]:
    """A client may try 5 wrong codes of a user's second factor an hour, and all unknown clients together 20.

    The latter is counted by user, since somebody who has the password may come from many addresses: a guess hits once
    in 300,000. A client that is known to the account is not counted there, so others do not use up its tries.
    """
    source = _source(user.email)
    own = Limit(f"code:{source.name}", context.settings().limits.auth_per_hour)
    shared = Limit(f"codes:{user.id}", CODES_PER_HOUR, doubles=False)
    others = () if source.is_known else (*_address_limits(), shared)
    with _counted((own, *others), own=own) as attempt:
        yield attempt


@contextmanager
def proof_attempt(login_id: object) -> Iterator[Attempt]:
    """A login may fail 5 times an hour to prove its user's password or code again, then waits, longer each time.

    Counted by login: the owner's other logins go on when one of them was stolen.
    """
    own = Limit(f"proof:{login_id}", context.settings().limits.auth_per_hour)
    with _counted((own,), own=own) as attempt:
        yield attempt


@contextmanager
def registration() -> Iterator[Attempt]:
    """An address may register 5 times an hour (`limits.registrations_per_hour`); raises TooManyAttempts after that.

    Counted before it is tried, so that registrations sent at the same instant are counted too; what is refused costs
    nothing, except that the API says EmailTaken: that would let somebody look up addresses without a limit.
    """
    limit = _registrations()
    g.shown_limit = limit
    counts = _counts()
    attempt = _begin(counts, (limit,))
    try:
        yield attempt
    except EmailTaken:
        raise
    except BaseException:
        counts.forgive(attempt)
        raise


def allowance() -> Allowance:
    """Return what is left under the limit that this request was counted by, or else of its address."""
    return _counts().allowance(g.get("shown_limit") or _address_limits()[0])


@contextmanager
def _counted(limits: Sequence[Limit], *, own: Limit) -> Iterator[Attempt]:
    """Count what fails in the block; a success clears the client's own count, and nobody else's."""
    counts = _counts()
    attempt = _begin(counts, limits)
    try:
        yield attempt
    except FAILURES:
        raise
    except InvalidInput as error:
        if error.field != "current_password":
            counts.forgive(attempt)
        raise
    except BaseException:
        counts.forgive(attempt)
        raise
    counts.forgive(attempt, clear=(own,))


def _begin(counts: FailedAttempts, limits: Sequence[Limit]) -> Attempt:
    attempt = counts.begin(limits)
    if attempt.blocked_for:
        raise TooManyAttempts(attempt.blocked_for)
    return attempt


@dataclass(frozen=True, slots=True)
class _Source:
    """Who tries: the account as a digest, the client's name within it, and whether the account knows the client."""

    account: str
    client: str
    is_known: bool

    @property
    def name(self) -> str:
        return f"{self.account}:{self.client}"


def _source(email: str) -> _Source:
    """Find out which client tries which account, with the same work whether or not there is such an account.

    A browser is known by its lasting cookie, which nobody can guess, and any client by an address from which a login of
    the account was opened. Programs keep no cookies, and what they call themselves proves nothing.
    """
    shown = "" if is_api_path(request.path) else auth.device_cookie()
    found = known_devices.recognise(context.session(), email, shown=shown, address=request.remote_addr or "")
    client = hashlib.sha256(shown.encode()).hexdigest()[:32] if found.device else network_of(request.remote_addr)
    account = hashlib.sha256(found.email.encode()).hexdigest()[:32]
    return _Source(account, client, found.device or found.address)


def _address_limits() -> tuple[Limit, Limit]:
    """Return the limit of an address beyond which wrong passwords are told to wait, and the one that blocks."""
    network, amount = network_of(request.remote_addr), context.settings().limits.auth_per_address
    return (
        Limit(f"address:{network}", amount, blocks=False),
        Limit(f"address-checked:{network}", amount * BLOCKING_FACTOR),
    )


def _registrations() -> Limit:
    amount = context.settings().limits.registrations_per_hour
    return Limit(f"registration:{network_of(request.remote_addr)}", amount, doubles=False)


def _counts() -> FailedAttempts:
    return cast(FailedAttempts, current_app.extensions["zenzefi-failed-attempts"])

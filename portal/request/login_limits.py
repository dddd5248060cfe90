"""Rate limits for failed logins and codes. Each limit is a function whose first sentence states it.

Failures of others never lock out the owner of an account: a browser or an address from which the account has been used
before has a count of its own. Elsewhere the correct password still works while others fail on the account, with a code
of the second factor or a link sent by e-mail.
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
# Above this multiple of its limit nothing from an address is checked any more: each check costs a hash.
BLOCKING_FACTOR = 10
FAILURES = (LoginFailed, OtpInvalid, AccountDisabled)


def init_app(app: Flask, settings: Settings) -> None:
    """Create the app's counters."""
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
    """Return whether an unknown client with the correct password must also follow a link sent by e-mail.

    True beyond the limit of the account or of the address: the password may have been guessed. Without a mail server
    the password is enough, since nothing else could prove who owns the account.
    """
    return attempt.longest_wait > timedelta() and context.frozen_settings().mail.is_configured


def refuse_beyond(attempt: Attempt) -> None:
    """Raise TooManyAttempts after a failure beyond a limit that does not block."""
    if attempt.longest_wait > timedelta():
        raise TooManyAttempts(attempt.longest_wait)


@contextmanager
def code_attempt(user: User) -> Iterator[Attempt]:
    """A client may try 5 wrong codes of a user's second factor an hour, and all unknown clients together 20.

    The latter is counted by user, since an attacker with the password may use many addresses: a guess succeeds once in
    300,000. A client that is known to the account is not counted there, so others do not use up its attempts.
    """
    source = _source(user.email)
    own = Limit(f"code:{source.name}", context.settings().limits.auth_per_hour)
    shared = Limit(f"codes:{user.id}", CODES_PER_HOUR, doubles=False)
    others = () if source.is_known else (*_address_limits(), shared)
    with _counted((own, *others), own=own) as attempt:
        yield attempt


@contextmanager
def proof_attempt(login_id: object) -> Iterator[Attempt]:
    """A login may fail 5 times an hour to confirm its user's password or code, then waits, longer each time.

    Counted by login: the owner's other logins keep working when one was stolen.
    """
    own = Limit(f"proof:{login_id}", context.settings().limits.auth_per_hour)
    with _counted((own,), own=own) as attempt:
        yield attempt


@contextmanager
def registration() -> Iterator[Attempt]:
    """An address may register 5 times an hour (`limits.registrations_per_hour`); raises TooManyAttempts after that.

    Counted before the attempt, so that concurrent registrations are counted too. A rejected one is not counted, except
    for EmailTaken of the API: addresses could be looked up without a limit.
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
    """Return what is left of the limit that counted this request, or else of the limit of its address."""
    return _counts().allowance(g.get("shown_limit") or _address_limits()[0])


@contextmanager
def _counted(limits: Sequence[Limit], *, own: Limit) -> Iterator[Attempt]:
    """Count failures in the block; a success resets only the client's own count."""
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
    """The source of an attempt: digest of the account, name of the client, and whether the account knows the client."""

    account: str
    client: str
    is_known: bool

    @property
    def name(self) -> str:
        return f"{self.account}:{self.client}"


def _source(email: str) -> _Source:
    """Return the source of an attempt, with the same work whether or not the account exists.

    A browser is known by its device cookie, which cannot be guessed, and any client by an address from which the
    account has signed in before. Programs keep no cookies, and their user agent proves nothing.
    """
    shown = "" if is_api_path(request.path) else auth.device_cookie()
    found = known_devices.recognise(context.session(), email, shown=shown, address=request.remote_addr or "")
    client = hashlib.sha256(shown.encode()).hexdigest()[:32] if found.device else network_of(request.remote_addr)
    account = hashlib.sha256(found.email.encode()).hexdigest()[:32]
    return _Source(account, client, found.device or found.address)


def _address_limits() -> tuple[Limit, Limit]:
    """Return the limit of an address that delays wrong passwords, and the higher one that blocks."""
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

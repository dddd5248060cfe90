"""Error responses of admission: status, code and message (docs/spec/http.md#error-responses)."""

from dataclasses import dataclass, field
from datetime import datetime

from addon.http1 import decisions
from models.config.server import Maintenance
from models.services.gateway.token_lookup import TokenSnapshot

_TABLE: dict[str, tuple[int, str]] = {
    "bad_request": (400, "The request is malformed."),
    "token_missing": (401, "An access token is needed."),
    "token_invalid": (401, "The access token is not valid."),
    "token_expired": (401, "The access token has expired."),
    "token_revoked": (401, "The access token was revoked."),
    "account_disabled": (401, "The account of this access token is disabled."),
    "token_paused": (403, "The access token is paused."),
    "too_many_failures": (429, "Too many wrong access tokens came from this address."),
    "cross_site": (403, "This form was sent from another site."),
    "device_missing": (403, "The X-Device-ID header is needed."),
    "device_invalid": (400, "The X-Device-ID header must have 8 to 255 characters."),
    "scope_denied": (403, "The access token does not cover this address."),
    "rate_limited": (429, "The access token has reached its limit."),
    "device_conflict": (409, "Another device is using this access token."),
    "unavailable": (503, "The service is not available for a moment."),
    "maintenance": (503, "The service is closed for maintenance."),
    "not_found": (404, "There is nothing at this address."),
}


@dataclass(frozen=True, slots=True)
class Refuse:
    """A refusal. `reason` adds to the sentence what the client can act on; `retry_after` is in seconds.

    `known` is whose token was refused, where that is known: for the log, not for the client. `note` is the
    reason in Russian. `page` is the path of the portal's page on which the owner can act.
    """

    code: str
    reason: str = ""
    retry_after: int | None = None
    known: TokenSnapshot | None = field(default=None, compare=False, repr=False)
    note: str = ""
    page: str = ""

    @property
    def status(self) -> int:
        return _TABLE[self.code][0]

    @property
    def detail(self) -> str:
        sentence = _TABLE[self.code][1]
        return f"{sentence} {self.reason}" if self.reason else sentence

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that go with the code: a challenge with every 401, and when to come back."""
        found: list[tuple[str, str]] = []
        if self.status == 401:
            found.append(("WWW-Authenticate", 'Bearer realm="zenzefi"'))
        if self.retry_after is not None:
            found.append(("Retry-After", str(self.retry_after)))
        return tuple(found)


def maintenance_refusal(maintenance: Maintenance) -> Refuse | None:
    """Return how everything is refused while maintenance mode is on."""
    if not maintenance.on:
        return None
    words = maintenance.words_en, maintenance.words_ru or maintenance.words_en
    return Refuse("maintenance", words[0], retry_after=maintenance.retry_after_seconds, note=words[1])


def as_layer(refusal: Refuse) -> decisions.Refuse:
    """Return the refusal in the words of the HTTP layer, which knows no codes of ours."""
    return decisions.Refuse(refusal.status, refusal.code, refusal.detail, refusal.headers, refusal.note, refusal.page)


def token_refusal(known: TokenSnapshot, moment: datetime) -> Refuse | None:
    """Say why a token cannot be used at `moment`, if it cannot."""
    if known.used_until is not None:
        moment = max(moment, known.used_until)
    if not known.owner_is_active:
        return Refuse("account_disabled", known=known)
    if known.is_revoked:
        return Refuse("token_revoked", known=known)
    if known.is_paused(moment):
        return _paused(known)
    if known.expires_at is not None and known.expires_at <= moment:
        return Refuse("token_expired", known=known)
    if known.secret_until is not None and known.secret_until <= moment:
        return Refuse("token_invalid", known=known)
    return None


def _paused(known: TokenSnapshot) -> Refuse:
    """Name what ends the pause, and the portal's page that shows it."""
    page = f"/tokens/{known.token_id}"
    if not known.is_paused_for_debt:
        return Refuse("token_paused", known=known, page=page)
    reason = "A payment for it was charged back; it resumes once the debt is repaid."
    note = "Платёж за него был оспорен; токен возобновится, когда долг будет погашен."
    return Refuse("token_paused", reason, known=known, note=note, page=page)

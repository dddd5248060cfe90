"""Error responses of admission: status, code and message (docs/spec/http.md#error-responses)."""

from datetime import datetime

from addon.http1.decisions import Refuse
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


def refuse(
    code: str,
    reason: str = "",
    *,
    retry_after: int | None = None,
    snapshot: object = None,
    note: str = "",
    page: str = "",
) -> Refuse:
    """Return the error response for a code; `reason` is appended to its message, `retry_after` is in seconds.

    `note` is a further explanation in Russian, `page` the path of the portal's page to link to.
    A 401 carries the challenge that RFC 9110, section 11.6.1 requires.
    """
    status, message = _TABLE[code]
    headers: tuple[tuple[str, str], ...] = ()
    if status == 401:
        headers = (("WWW-Authenticate", 'Bearer realm="zenzefi"'),)
    if retry_after is not None:
        headers = (*headers, ("Retry-After", str(retry_after)))
    return Refuse(status, code, f"{message} {reason}" if reason else message, headers, note, page, snapshot)


def maintenance_refusal(maintenance: Maintenance) -> Refuse | None:
    """Return the refusal of all requests while maintenance mode is on."""
    if not maintenance.on:
        return None
    note = maintenance.words_ru or maintenance.words_en
    return refuse("maintenance", maintenance.words_en, retry_after=maintenance.retry_after_seconds, note=note)


def token_refusal(snapshot: TokenSnapshot, moment: datetime) -> Refuse | None:
    """Return the refusal of a token that cannot be used at `moment`, None for a valid one."""
    if snapshot.used_until is not None:
        moment = max(moment, snapshot.used_until)
    if not snapshot.owner_is_active:
        return refuse("account_disabled", snapshot=snapshot)
    if snapshot.is_revoked:
        return refuse("token_revoked", snapshot=snapshot)
    if snapshot.is_paused(moment):
        return _paused(snapshot)
    if snapshot.expires_at is not None and snapshot.expires_at <= moment:
        return refuse("token_expired", snapshot=snapshot)
    if snapshot.secret_until is not None and snapshot.secret_until <= moment:
        return refuse("token_invalid", snapshot=snapshot)
    return None


def _paused(snapshot: TokenSnapshot) -> Refuse:
    """Return the refusal of a paused token, with the portal's page on which the pause can be ended."""
    page = f"/tokens/{snapshot.token_id}"
    if not snapshot.is_paused_for_debt:
        return refuse("token_paused", snapshot=snapshot, page=page)
    reason = "A payment for it was charged back; it resumes once the debt is repaid."
    note = "Платёж за него был оспорен; токен возобновится, когда долг будет погашен."
    return refuse("token_paused", reason, snapshot=snapshot, note=note, page=page)

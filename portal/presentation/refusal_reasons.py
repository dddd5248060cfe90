"""Messages for the proxy's error codes (docs/spec/http.md#order-of-checks): the reason and what the owner can do."""

from typing import NamedTuple

from flask_babel import lazy_gettext as _


class Reason(NamedTuple):
    """What happened, and what to do; both are translated when they are shown."""

    what: str
    advice: str


_LATER = _("Try again in a moment. The service status is on the start page.")
_NEW_TOKEN = _("Buy a new token, or use another one.")
_UPSTREAM = _("Your token is fine. Try again in a moment; longer outages are credited.")

REASONS = {
    "bad_request": Reason(
        _("The request was malformed."),
        _("Check the path: no dot segments, no double slashes, no double escaping."),
    ),
    "token_expired": Reason(_("The token had expired."), _NEW_TOKEN),
    "token_revoked": Reason(_("The token had been revoked."), _NEW_TOKEN),
    "token_invalid": Reason(
        _("The secret had been replaced, and the old one no longer works."),
        _("Use the new secret, or rotate it again if you have lost it."),
    ),
    "account_disabled": Reason(_("Your account had been disabled."), _("Contact the shop.")),
    "token_paused": Reason(
        _("The token was paused."), _("Resume it on the token's page. After a chargeback, repay the debt first.")
    ),
    "too_many_failures": Reason(
        _("Too many wrong tokens were sent from this address."),
        _("Find the client that sends a wrong token, and wait a minute."),
    ),
    "device_missing": Reason(
        _("The request had no device ID."),
        _("Configure the client to send the X-Device-ID header, as the desktop client does."),
    ),
    "device_invalid": Reason(
        _("The device ID was too short or too long."), _("X-Device-ID must have 8 to 255 characters.")
    ),
    "scope_denied": Reason(
        _("The token's scope does not include this path."),
        _("“Test a request” shows which rule applies; another path may need a token with another scope."),
    ),
    "rate_limited": Reason(
        _("Too many requests in a short time, or at once."),
        _("Send fewer requests at once; the Retry-After header says how long to wait."),
    ),
    "device_conflict": Reason(
        _("Another device was using the token."),
        _("Release that device on the token's page, or wait until it has been idle for five minutes."),
    ),
    "upstream_unreachable": Reason(_("The upstream could not be reached."), _UPSTREAM),
    "upstream_busy": Reason(_("The upstream had no free connection."), _LATER),
    "upstream_timeout": Reason(_("The upstream did not respond in time."), _UPSTREAM),
    "upstream_closed": Reason(_("The upstream interrupted its response."), _UPSTREAM),
    "upstream_invalid": Reason(_("The upstream's response was not valid HTTP."), _UPSTREAM),
    "upstream_head_too_large": Reason(_("The headers of the service's response were larger than allowed."), _UPSTREAM),
    "unavailable": Reason(_("The proxy was temporarily unavailable."), _LATER),
    "overloaded": Reason(_("The proxy was overloaded."), _LATER),
    "request_timeout": Reason(_("The request was not received in time."), _("Check the client's connection.")),
    "body_too_large": Reason(_("The request body was too large."), _("Send it in smaller parts.")),
}
# The same codes for an admin, who reads them in a table with their numbers.
SHORT = {
    "bad_request": _("malformed request"),
    "headers_too_large": _("headers too large"),
    "uri_too_long": _("address too long"),
    "not_implemented": _("method not forwarded"),
    "expectation_failed": _("unsupported Expect header"),
    "token_missing": _("no token"),
    "token_invalid": _("wrong token"),
    "token_expired": _("token expired"),
    "token_revoked": _("token revoked"),
    "token_paused": _("token paused"),
    "account_disabled": _("account disabled"),
    "too_many_failures": _("too many wrong tokens from one address"),
    "cross_site": _("form from another site"),
    "device_missing": _("no device ID"),
    "device_invalid": _("invalid device ID"),
    "device_conflict": _("another device is using the token"),
    "scope_denied": _("path outside the token's scope"),
    "rate_limited": _("rate limit exceeded"),
    "upstream_unreachable": _("upstream unreachable"),
    "upstream_busy": _("no free upstream connection"),
    "upstream_timeout": _("upstream timeout"),
    "upstream_closed": _("upstream interrupted the response"),
    "upstream_invalid": _("upstream response is not HTTP"),
    "upstream_head_too_large": _("upstream's headers too large"),
    "unavailable": _("temporarily unavailable"),
    "maintenance": _("maintenance"),
    "overloaded": _("overloaded"),
    "request_timeout": _("request too slow"),
    "body_too_large": _("body too large"),
    "not_found": _("not found"),
    "internal": _("internal error of the proxy"),
}
_OTHER = Reason(_("The proxy had an internal error."), _LATER)


def short(code: str) -> str:
    """Return a short label for a code; one without a label is shown as it is."""
    return str(SHORT.get(code, code))


def reason(code: str) -> Reason:
    """Return the words for a code; one that is new here has those of a fault of ours."""
    return REASONS.get(code, _OTHER)

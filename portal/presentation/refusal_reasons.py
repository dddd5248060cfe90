"""Why a request was refused, and what its owner can do: the proxy's codes (contract.md, section 2) in words."""

from typing import NamedTuple

from flask_babel import lazy_gettext as _


class Reason(NamedTuple):
    """What happened, and what to do; both are written when they are shown."""

    what: str
    advice: str


_LATER = _("Try again in a moment. The status of the service is on the first page.")
_NEW_TOKEN = _("Buy a new token, or use another one.")
_UPSTREAM = _("Nothing is wrong with your token. Try again in a moment; longer outages are credited.")

REASONS = {
    "bad_request": Reason(
        _("The request was malformed."),
        _("Check the address: no dot segments, no double slashes, nothing escaped twice."),
    ),
    "token_expired": Reason(_("The token's time was used up."), _NEW_TOKEN),
    "token_revoked": Reason(_("The token was revoked."), _NEW_TOKEN),
    "token_invalid": Reason(
        _("The secret was replaced, and the old one does not open the token any more."),
        _("Use the new secret, or replace it again if it is lost."),
    ),
    "account_disabled": Reason(_("Your account was disabled."), _("Write to the operator.")),
    "token_paused": Reason(_("The token was paused."), _("Resume it on its page.")),
    "too_many_failures": Reason(
        _("Too many wrong tokens came from this address."),
        _("Find the client that sends a wrong token, and wait a minute."),
    ),
    "device_missing": Reason(
        _("The device did not name itself."),
        _("Let the client send the X-Device-ID header, as the desktop client does."),
    ),
    "device_invalid": Reason(
        _("The device's name was too short or too long."), _("X-Device-ID has 8 to 255 characters.")
    ),
    "scope_denied": Reason(
        _("The token does not open this address."),
        _("“Try a request” shows which rule decides; another address may need a token of another scope."),
    ),
    "rate_limited": Reason(
        _("Too many requests came in a short time, or at once."),
        _("Send fewer at the same time; the reply's Retry-After says how long to wait."),
    ),
    "device_conflict": Reason(
        _("Another device was using the token."),
        _("Release that device on the token's page, or wait until it has been idle for five minutes."),
    ),
    "upstream_unreachable": Reason(_("The service could not be reached."), _UPSTREAM),
    "upstream_timeout": Reason(_("The service did not answer in time."), _UPSTREAM),
    "upstream_closed": Reason(_("The service broke off its answer."), _UPSTREAM),
    "upstream_invalid": Reason(_("The service answered with something that is no HTTP."), _UPSTREAM),
    "upstream_head_too_large": Reason(_("The headers of the service's response were larger than allowed."), _UPSTREAM),
    "unavailable": Reason(_("The proxy was not available for a moment."), _LATER),
    "overloaded": Reason(_("The proxy had too much to do."), _LATER),
    "request_timeout": Reason(_("The request did not arrive in time."), _("Check the connection of the client.")),
    "body_too_large": Reason(_("The body of the request was too large."), _("Send it in smaller parts.")),
}
# The same codes for an admin, who reads them in a table with their numbers.
SHORT = {
    "bad_request": _("malformed request"),
    "headers_too_large": _("headers too large"),
    "uri_too_long": _("address too long"),
    "not_implemented": _("method not passed on"),
    "expectation_failed": _("Expect header not understood"),
    "token_missing": _("no token"),
    "token_invalid": _("wrong token"),
    "token_expired": _("token has ended"),
    "token_revoked": _("token revoked"),
    "token_paused": _("token paused"),
    "account_disabled": _("account disabled"),
    "too_many_failures": _("too many wrong tokens from one address"),
    "cross_site": _("form of another site"),
    "device_missing": _("device not named"),
    "device_invalid": _("device named wrongly"),
    "device_conflict": _("another device is using the token"),
    "scope_denied": _("address not opened by the token"),
    "rate_limited": _("over the limit of requests"),
    "upstream_unreachable": _("upstream not reached"),
    "upstream_timeout": _("upstream too slow"),
    "upstream_closed": _("upstream broke off"),
    "upstream_invalid": _("upstream answered with no HTTP"),
    "upstream_head_too_large": _("upstream's headers too large"),
    "unavailable": _("not available for a moment"),
    "maintenance": _("maintenance"),
    "overloaded": _("too much to do"),
    "request_timeout": _("request too slow"),
    "body_too_large": _("body too large"),
    "not_found": _("nothing at this address"),
    "internal": _("fault of the proxy"),
}
_OTHER = Reason(_("Something went wrong at the proxy."), _LATER)


def short(code: str) -> str:
    """Say shortly what a code means; one without words goes by itself."""
    return str(SHORT.get(code, code))


def reason(code: str) -> Reason:
    """Return the words for a code; one that is new here has those of a fault of ours."""
    return REASONS.get(code, _OTHER)

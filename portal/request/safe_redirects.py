"""Safe redirect targets: only paths of this site, and listed return addresses."""

import re

from flask import request

from portal.request import context

# One slash, then printable ASCII without a backslash. Browsers read // and /\ as another host, and drop tabs and
# newlines before they look, so none of these may pass.
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*", re.ASCII)
LONGEST = 300


def local_path(value: str | None, default: str) -> str:
    """Return `value` when it is a path on this site, else `default`."""
    if value and len(value) <= LONGEST and _LOCAL.fullmatch(value):
        return value
    return default


def path_of_request() -> str:
    """Return path and query of the current request, to return to it later."""
    return request.full_path.rstrip("?")


def own_address(path: str) -> str:
    """Return the full address of a path, built from the settings and never from the Host header."""
    return context.settings().portal.address + path


def return_path(value: str) -> str | None:
    """Return the full address to which a checkout may redirect; None when it is not allowed.

    Allowed are paths and addresses of this site, and addresses at an origin of `payments.return_origins`.
    """
    for origin in (context.settings().portal.address, *context.settings().payments.return_origins):
        path = value.removeprefix(origin) if value.startswith(f"{origin}/") else ""
        if local_path(path, ""):
            return value
    return own_address(value) if local_path(value, "") else None


def without_own_origin(url: str) -> str:
    """Strip our own origin, so that visitors who use another name of this host keep their cookies."""
    return url.removeprefix(context.settings().portal.address)

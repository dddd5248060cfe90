"""Where a redirect may lead: to a path of our own and nowhere else."""

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
    """Return path and query of the current request, for a way back."""
    return request.full_path.rstrip("?")


def own_address(path: str) -> str:
    """Return the full address of a path, built from the settings: a Host header of the visitor's has no say."""
    return context.settings().portal.address + path


def return_path(value: str) -> str | None:
    """Return the full address to which a checkout may send its buyer; None for a place that nobody has listed.

    A path of ours, an address of ours, or one at an origin of `payments.return_origins`.
    """
    for origin in (context.settings().portal.address, *context.settings().payments.return_origins):
        path = value.removeprefix(origin) if value.startswith(f"{origin}/") else ""
        if local_path(path, ""):
            return value
    return own_address(value) if local_path(value, "") else None


def without_own_origin(url: str) -> str:
    """Take our own origin off, so that a visitor who came by another name of this host keeps his cookies."""
    return url.removeprefix(context.settings().portal.address)

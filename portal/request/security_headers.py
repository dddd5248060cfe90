"""Security headers of every response, and checks of every request before its view."""

import logging
import re
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, g, request, session
from flask_login import current_user

from models.config.settings import Settings
from portal.request import context

logger = logging.getLogger(__name__)


def content_security_policy(*, forms_lead_to: str = "", draws_itself: bool = False) -> str:
    """Return the policy of a page. Browsers hold a form's redirects to it, too, so a page whose form leads to
    another origin of ours names that origin.

    `draws_itself` is for the two readers of the API's document: they write styles and draw images from data. Scripts
    come from us alone, there as everywhere.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self' 'unsafe-inline'" if draws_itself else "style-src 'self'",
            "img-src 'self' data:" if draws_itself else "img-src 'self'",
            "font-src 'self'",
            "connect-src 'self'",
            f"form-action 'self' {forms_lead_to}".rstrip(),
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


HEADERS = {
    "Content-Security-Policy": content_security_policy(),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Flask-WTF checks the Referer of forms under HTTPS, so our own pages must still send it to us.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# Views that build no address from the request and show nothing private.
BY_ADDRESS = {"health.health", "metrics.show"}
HSTS = "max-age=31536000; includeSubDomains"
_REQUEST_ID = re.compile(r"[0-9a-zA-Z-]{8,64}", re.ASCII)


def init_app(app: Flask, settings: Settings) -> None:
    """Register the checks of requests and the headers of responses."""
    production = settings.platform.is_production
    public_host = urlsplit(settings.portal.address).hostname
    trusts_a_proxy = settings.portal.trusted_proxies > 0

    @app.before_request
    def name_request() -> None:
        given = request.headers.get("X-Request-ID", "") if trusts_a_proxy else ""
        g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)

    @app.before_request
    def refuse_foreign_hosts() -> None:
        """Accept only our own host name in production; probes and Prometheus use the machine's address."""
        if production and request.endpoint not in BY_ADDRESS and _hostname() != public_host:
            abort(400)

    @app.before_request
    def refuse_nul() -> None:
        """Reject NUL characters with 400, since PostgreSQL cannot store them."""
        # The views under /api/ read their bodies themselves, with a smaller limit.
        sent = [request.args] if request.path.startswith("/api/") else [request.args, request.form]
        if any("\0" in value for values in sent for _, value in values.items(multi=True)):
            abort(400)

    @app.before_request
    def only_look_while_viewing() -> None:
        """Reject all but GET while an admin impersonates a user, except ending the impersonation."""
        if request.method in {"GET", "HEAD", "OPTIONS"} or request.endpoint == "view_as.end":
            return
        if "_user_id" in session and context.impersonation() is not None:
            abort(403)

    @app.after_request
    def set_headers(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["X-Request-ID"] = g.get("request_id") or secrets.token_hex(16)
        if production:
            response.headers["Strict-Transport-Security"] = HSTS
        if request.endpoint != "static":
            _keep_out_of_caches(response)
        return response

    @app.url_defaults
    def version_static_files(endpoint: str, values: dict[str, Any]) -> None:
        """Add the modification time of a static file to its address."""
        if endpoint == "static" and "filename" in values:
            path = Path(app.static_folder or "") / values["filename"]
            values["v"] = int(path.stat().st_mtime) if path.is_file() else 0


def _hostname() -> str:
    return urlsplit(f"//{request.host}").hostname or ""


def _keep_out_of_caches(response: Response) -> None:
    """Forbid caching of a user's pages; a visitor's pages have a CSRF token, so only the browser may cache them."""
    if "Cache-Control" in response.headers:
        return
    # Uses only what the request has loaded already: this must not query the database, above all not on a 500.
    logged_in = "_login_user" in g and current_user.is_authenticated
    response.headers["Cache-Control"] = "no-store" if logged_in else "private, no-cache"
    response.vary.update(("Cookie", "Accept-Language"))

"""Error handlers: map exceptions to error pages, or to JSON for the API. None needs the database."""

import logging
from math import ceil
from urllib.parse import urlsplit

from flask import Flask, Response, g, jsonify, make_response, redirect, render_template, request
from flask.globals import request_ctx
from flask_babel import lazy_gettext as _
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed
from werkzeug.wrappers import Response as BaseResponse

from models.services import errors as domain
from models.services import messages
from portal.extensions import db
from portal.i18n import is_api_path, ngettext
from portal.presentation.error_messages import message_of
from portal.request.safe_redirects import local_path

logger = logging.getLogger(__name__)

STATUS: dict[type[domain.DomainError], int] = {
    domain.NotFound: 404,
    domain.InvalidInput: 400,
    domain.EmailTaken: 400,
    domain.UsernameTaken: 400,
    domain.CouponRefused: 400,
    domain.CallbackRefused: 400,
    domain.LoginFailed: 401,
    domain.OtpRequired: 401,
    domain.OtpInvalid: 401,
    domain.ProofNeeded: 401,
    domain.InsufficientFunds: 402,
    domain.AccountDisabled: 403,
    domain.LinkExpired: 410,
    domain.TooManyAttempts: 429,
    domain.ProviderRefused: 502,
    domain.ProviderDown: 503,
}
CONFLICT = 409
# Title and text for each status; other statuses use 400 or 500.
PAGES = {
    400: (_("Bad request"), _("The request could not be read. Go back and try again.")),
    401: (_("Sign in to continue"), _("This page is available after you sign in.")),
    402: (_("Insufficient balance"), _("Top up your wallet and try again.")),
    403: (_("Access denied"), _("Only admins can open this page. If you need access, ask an admin.")),
    404: (_("Page not found"), _("The address may be mistyped, or the page may belong to another user.")),
    405: (_("Action not available here"), _("Go back to the previous page and use its buttons.")),
    409: (_("Already done"), _("The change has already been applied.")),
    410: (
        _("No longer available"),
        _("This page was temporary and has expired."),
    ),
    413: (_("Request too large"), _("The request is larger than we accept. Make it shorter and try again.")),
    429: (_("Too many attempts"), _("To protect accounts, failed attempts are limited.")),
    500: (_("Something went wrong"), _("The error has been logged. You were not charged for this request.")),
    503: (
        _("Service temporarily unavailable"),
        _("A part of the service is not responding. This usually takes a minute; please try again."),
    ),
}
# Texts for the API where the page's text is meant for a browser.
API_MESSAGES = {
    400: "This request could not be read.",
    405: "This address does not take this method; the header Allow says which ones it takes.",
}
FORM_EXPIRED = (
    _("This form has expired"),
    _("The form was open too long, you were signed out, or cookies are blocked. Open it again and resubmit."),
)


# The `code` of an API error that has only a status.
CODES = {
    400: "bad_request",
    401: "unauthorized",
    402: "insufficient_funds",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    410: "gone",
    413: "request_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "too_many_requests",
    502: "provider_refused",
    503: "service_unavailable",
}


class ApiError(Exception):
    """The API refuses a request before a service is called; `detail` replaces the message of the code."""

    def __init__(self, status: int, code: str, detail: str | None = None, **params: object) -> None:
        super().__init__(code)
        self.status, self.code = status, code
        self.detail = detail or messages.code_text(code, params)


def init_app(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(CSRFError, _on_csrf)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(domain.DomainError, _on_domain)
    app.register_error_handler(ApiError, _on_api_error)
    app.register_error_handler(OperationalError, _on_database_down)
    app.register_error_handler(PoolTimeout, _on_database_down)


def _on_api_error(error: ApiError) -> Response:
    return page(error.status, error.detail, code=error.code)


def _on_domain(error: domain.DomainError) -> Response:
    db.session.rollback()
    g.refused = type(error).__name__
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), CONFLICT)
    text = messages.error_text(error) if _is_api() else _error_message(error, status)
    response = page(status, text, code=error.code)
    if isinstance(error, domain.TooManyAttempts):
        response.headers["Retry-After"] = str(_retry_after_seconds(error))
    return response


def _error_message(error: domain.DomainError, status: int) -> str | None:
    """Return the page's message for a domain error; None for the default text of the status."""
    if isinstance(error, domain.NotFound):
        return None
    if isinstance(error, domain.TooManyAttempts):
        minutes = ceil(_retry_after_seconds(error) / 60)
        wait = ngettext("Try again in %(num)d minute.", "Try again in %(num)d minutes.", minutes)
        return f"{PAGES[status][1]} {wait}"
    return message_of(error)


def _retry_after_seconds(error: domain.TooManyAttempts) -> int:
    return max(1, ceil(error.resets_in.total_seconds()))


def _on_csrf(_error: CSRFError) -> Response:
    title, text = FORM_EXPIRED
    return page(400, str(text), title=str(title), again=local_path(_referring_path(), ""))


def _referring_path() -> str:
    """Return path and query of the own page that sent the request, by the Referer header."""
    try:
        page_before = urlsplit(request.referrer or "")
    except ValueError:  # a malformed host in brackets
        return ""
    return page_before._replace(scheme="", netloc="").geturl() if page_before.netloc == request.host else ""


def _on_http(error: HTTPException) -> BaseResponse | HTTPException:
    if error.code is None or error.code < 400:
        return error  # a redirect that adds or removes a trailing slash
    if isinstance(error, InternalServerError) and error.original_exception is not None:
        # Flask has logged the traceback; this line links it to the request id on the page.
        logger.error("request %s failed: %s", g.get("request_id"), type(error.original_exception).__name__)
    if isinstance(error, MethodNotAllowed) and request.method in {"GET", "HEAD"} and not _is_api():
        return redirect(_page_above())
    response = page(error.code)
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After", "WWW-Authenticate"}:
            response.headers[name] = value
    return response


def _page_above() -> str:
    """Return the address of the nearest parent page that accepts GET, for an address that only accepts POST.

    A form's response has the address of the form's action, which users reload, bookmark and return to after a login.
    """
    path, adapter = request.path, request_ctx.url_adapter
    while path and adapter is not None:
        path = path.rpartition("/")[0]
        if adapter.test(path or "/", "GET"):
            break
    query = request.query_string.decode()
    return f"{path or '/'}?{query}" if query else path or "/"


def _on_database_down(error: Exception) -> Response:
    logger.error("request %s: the database is not responding: %s", g.get("request_id"), type(error).__name__)
    response = page(503)
    response.headers["Retry-After"] = "30"
    return response


def page(
    status: int, text: str | None = None, *, title: str | None = None, again: str = "", code: str = ""
) -> Response:
    """Return an error page, or JSON under /api/; `again` is the address of the form that was refused."""
    usual_title, usual_text = PAGES.get(status, PAGES[500] if status >= 500 else PAGES[400])
    title = title or str(usual_title)
    if _is_api():
        detail = text or API_MESSAGES.get(status) or str(usual_text)
        response = jsonify(
            detail=detail, code=code or CODES.get(status, "internal_error"), request_id=g.get("request_id")
        )
        if status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
    else:
        facts = {"status": status, "title": title, "text": text or str(usual_text), "again": again}
        response = make_response(render_template("errors/error.html", **facts))
    response.status_code = status
    return response


def _is_api() -> bool:
    return is_api_path(request.path)

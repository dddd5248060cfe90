"""Responses that do not come from the upstream: errors as JSON or HTML, and the policy's own answers."""

import json
from http import HTTPStatus

from addon.http1.decisions import Local, Refuse
from addon.http1.messages.heads import RequestHead
from addon.http1.pages import frame, refusal_pages

_HEADERS: tuple[tuple[str, str], ...] = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _wants_page(request: RequestHead | None) -> bool:
    accept = request.headers.get(b"accept") if request else None
    return accept is not None and b"text/html" in accept.lower()


def _languages(request: RequestHead | None) -> str:
    accepted = request.headers.get(b"accept-language") if request else None
    return accepted.decode("latin-1") if accepted else ""


def refusal_response(
    refuse: Refuse,
    request: RequestHead | None,
    request_id: str,
    *,
    close: bool,
    portal_url: str = "",
    lines: bytes = b"",
) -> bytes:
    """Build the error response for a refusal, as JSON or as an HTML page; `lines` are further header lines."""
    headers = _HEADERS
    if _wants_page(request):
        content_type, headers = "text/html; charset=utf-8", frame.HEADERS
        body = refusal_pages.render(refuse, request_id, portal_url, _languages(request))
    else:
        content_type = "application/json"
        body = json.dumps({"detail": refuse.detail, "code": refuse.code, "request_id": request_id}).encode()
    local = Local(refuse.status, body, content_type, (*refuse.headers, *headers, ("Vary", "Accept, Accept-Language")))
    return local_response(local, request, request_id, close=close, lines=lines)


def local_response(
    local: Local, request: RequestHead | None, request_id: str, *, close: bool, lines: bytes = b""
) -> bytes:
    """Build the response for a local answer. Raises ValueError for a header that would split the response."""
    parts = [f"HTTP/1.1 {local.status} {_title(local.status)}\r\n"]
    bodiless = local.status in (204, 304)
    if not bodiless:
        parts.append(f"Content-Type: {local.content_type}\r\nContent-Length: {len(local.body)}\r\n")
    for name, value in local.headers:
        if "\r" in value or "\n" in value:
            raise ValueError(f"line break in the response header {name}")
        parts.append(f"{name}: {value}\r\n")
    parts.append(f"X-Request-ID: {request_id}\r\n")
    if close:
        parts.append("Connection: close\r\n")
    elif request is not None and request.http10:
        parts.append("Connection: keep-alive\r\n")
    head = "".join(parts).encode("latin-1") + lines + b"\r\n"
    if bodiless or (request is not None and request.method == "HEAD"):
        return head
    return head + local.body

"""Answers of our own: errors as JSON or as a small page, and what the policy answers itself."""

import json
from collections.abc import Sequence
from html import escape
from http import HTTPStatus

from addon.http1.decisions import Local, Refuse
from addon.http1.heads import RequestHead

_PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>{status} {title}</title>"
    "<h1>{title}</h1><p>{detail}</p>{portal}<p><small>{code} · {request_id}</small></p></html>"
)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _wants_page(request: RequestHead | None) -> bool:
    accept = request.headers.get(b"accept") if request else None
    return accept is not None and b"text/html" in accept.lower()


def refusal(
    refuse: Refuse,
    request: RequestHead | None,
    request_id: str,
    portal_url: str,
    close: bool,
    lines: bytes = b"",
) -> bytes:
    """Build the whole reply for a refusal; `lines` are further header lines."""
    if _wants_page(request):
        content_type = "text/html; charset=utf-8"
        link = f'<p><a href="{escape(portal_url)}">{escape(portal_url)}</a></p>' if portal_url else ""
        body = _PAGE.format(
            status=refuse.status,
            title=escape(_title(refuse.status)),
            detail=escape(refuse.detail),
            code=escape(refuse.code),
            request_id=request_id,
            portal=link,
        ).encode()
    else:
        content_type = "application/json"
        facts = {"detail": refuse.detail, "code": refuse.code, "request_id": request_id}
        body = json.dumps(facts).encode()
    extra = b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n" + lines
    return _reply(refuse.status, content_type, refuse.headers, body, request, request_id, close, extra)


def local_reply(local: Local, request: RequestHead, request_id: str, close: bool) -> bytes:
    """Build the whole reply for an answer of the policy's own."""
    return _reply(
        local.status, local.content_type, local.headers, local.body, request, request_id, close, b""
    )


def _reply(
    status: int,
    content_type: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    request: RequestHead | None,
    request_id: str,
    close: bool,
    extra: bytes,
) -> bytes:
    lines = [f"HTTP/1.1 {status} {_title(status)}\r\n"]
    bodiless = status in (204, 304)
    if not bodiless:
        lines.append(f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n")
    for name, value in headers:
        if "\r" in value or "\n" in value:
            raise ValueError(f"a line break in a reply header: {name}")
        lines.append(f"{name}: {value}\r\n")
    lines.append(f"X-Request-ID: {request_id}\r\n")
    if close:
        lines.append("Connection: close\r\n")
    elif request is not None and request.http10:
        lines.append("Connection: keep-alive\r\n")
    head = "".join(lines).encode("latin-1") + extra + b"\r\n"
    if bodiless or (request is not None and request.method == "HEAD"):
        return head
    return head + body

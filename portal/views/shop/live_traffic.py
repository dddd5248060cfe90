"""Live traffic of a token: recent requests, rejections, and a test of a request against its scope."""

import re
import uuid
from urllib.parse import quote

from flask import Blueprint, render_template, request

from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.services.gateway import request_paths
from models.services.gateway.request_paths import PREFIX, RESERVED_SEGMENT
from models.services.gateway.scopes import ORDINARY_METHODS, Scope, ScopeDecision, find_rule
from models.services.tokens import queries as token_queries
from portal.request import auth, context
from portal.status import recent_requests

blueprint = Blueprint("traffic", __name__, url_prefix="/tokens/<uuid:token_id>")
blueprint.before_request(auth.require_login)

MAX_PATH_LENGTH = 2000
_ORIGIN = re.compile(r"https?://[^/?#]*")
# Characters that a client sends unescaped; all others are percent-encoded, as a client does.
_UNESCAPED = "".join(chr(code) for code in range(0x21, 0x7F))


@blueprint.get("/traffic")
def live(token_id: uuid.UUID) -> str:
    """Show the token's recent requests and rejections; the page refreshes itself unless `live=0`."""
    token = token_queries.owned(context.session(), context.user(), token_id)
    return render_template(
        "tokens/traffic.html",
        token=token,
        requests=recent_requests.requests(token.id),
        refusals=recent_requests.refusals(token.id),
        is_live=request.args.get("live") != "0",
    )


@blueprint.get("/try")
def try_request(token_id: uuid.UUID) -> str:
    """Show which rule of the scope applies to a method and a path; nothing is sent."""
    token = token_queries.owned(context.session(), context.user(), token_id)
    method = request.args.get("method", "GET")
    path = request.args.get("path", "").strip()[:MAX_PATH_LENGTH]
    method = method if method in ORDINARY_METHODS else "GET"
    found = _find_ruling(context.settings(), token, method, path) if path else None
    rules = context.settings().scopes.get(token.scope, ())
    return render_template(
        "tokens/try.html", token=token, method=method, path=path, methods=ORDINARY_METHODS, ruling=found, rules=rules
    )


def _find_ruling(settings: Settings, token: AccessToken, method: str, typed: str) -> ScopeDecision:
    """Return the ruling, by the same code as in the workers."""
    raw_path = raw_path_of(typed)
    if settings.proxy.compatibility_prefix and raw_path.startswith(PREFIX + b"/"):
        raw_path = raw_path.removeprefix(PREFIX)
    if request_paths.path_fault(raw_path) is None and request_paths.is_under(raw_path, RESERVED_SEGMENT):
        return ScopeDecision("reserved")
    rules = settings.scopes.get(token.scope)
    return find_rule(None if rules is None else Scope(rules), method, raw_path)


def raw_path_of(typed: str) -> bytes:
    """Return the path of a typed path or URL, encoded as a client would send it."""
    if (origin := _ORIGIN.match(typed)) is not None:
        typed = typed[origin.end() :].partition("#")[0]
    path = typed.partition("?")[0]
    return quote(path if path.startswith("/") else f"/{path}", safe=_UNESCAPED).encode()

"""Scripts of foreign pages: whose may call, and what their browsers are told (the Fetch standard's CORS protocol).

While origins are listed, the list alone decides: what the upstream says of CORS is dropped from its replies.
"""

import re
from dataclasses import dataclass

from addon.http1.decisions import Local
from addon.http1.messages.head_parser import RequestHead
from models.services.gateway.scopes import ORDINARY_METHODS

# Without this a script may not read them.
_EXPOSED = b"X-Request-ID, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:, ?[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}")
_LONGEST = 2048
_VARY = b"Vary: Origin\r\n"


@dataclass(frozen=True, slots=True)
class Cors:
    """The listed origins, byte for byte as browsers send them; `*` stands for all, then never with credentials."""

    origins: frozenset[bytes]
    credentials: bool = False
    max_age: int = 600

    def lines(self, request: RequestHead) -> bytes:
        """Return the header lines that a reply to this request needs, whoever answers it."""
        if b"*" in self.origins:
            return b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: %b\r\n" % _EXPOSED
        origin = request.headers.get(b"origin")
        if origin not in self.origins:
            return _VARY  # A cache must not give this reply to a page that is listed.
        return b"Access-Control-Allow-Origin: %b\r\n%bAccess-Control-Expose-Headers: %b\r\n%b" % (
            origin,
            b"Access-Control-Allow-Credentials: true\r\n" if self.credentials else b"",
            _EXPOSED,
            _VARY,
        )

    def preflight(self, request: RequestHead) -> Local | None:
        """Answer a listed page's question whether it may call; None for every other request.

        A browser asks without the token, so that nobody could admit the question itself.
        """
        headers = request.headers
        wanted_method = headers.get(b"access-control-request-method")
        if request.method != "OPTIONS" or wanted_method is None:
            return None
        origin = headers.get(b"origin")
        if origin is None or (origin not in self.origins and b"*" not in self.origins):
            return None
        methods, asked = ", ".join(ORDINARY_METHODS), wanted_method.decode("latin-1")
        if _NAME.fullmatch(asked) and asked not in ORDINARY_METHODS:
            methods += f", {asked}"
        answer = [("Access-Control-Allow-Methods", methods), ("Access-Control-Max-Age", str(self.max_age))]
        wanted = (headers.get(b"access-control-request-headers") or b"").decode("latin-1")
        if len(wanted) <= _LONGEST and _NAMES.fullmatch(wanted):
            answer.append(("Access-Control-Allow-Headers", wanted))
        answer.append(("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers"))
        return Local(204, headers=answer)

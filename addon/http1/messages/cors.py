"""CORS (Fetch standard): header lines for allowed origins, and answers to preflight requests.

While origins are configured, the upstream's own CORS headers are dropped from its responses.
"""

import re
from dataclasses import dataclass

from addon.http1.decisions import Local
from addon.http1.messages.heads import RequestHead
from models.services.gateway.scopes import ORDINARY_METHODS

# A script may read only the headers that are exposed.
_EXPOSED = b"X-Request-ID, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:, ?[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}")
_LONGEST = 2048
_VARY = b"Vary: Origin\r\n"


@dataclass(frozen=True, slots=True)
class Cors:
    """The allowed origins, byte for byte as browsers send them; `*` allows all, and never with credentials."""

    origins: frozenset[bytes]
    credentials: bool = False
    max_age: int = 600

    def lines(self, request: RequestHead) -> bytes:
        """Return the header lines for a response to this request, from the upstream or not."""
        if b"*" in self.origins:
            return b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: %b\r\n" % _EXPOSED
        origin = request.headers.get(b"origin")
        if origin not in self.origins:
            return _VARY  # A cache must not serve this response to an allowed origin.
        return b"Access-Control-Allow-Origin: %b\r\n%bAccess-Control-Expose-Headers: %b\r\n%b" % (
            origin,
            b"Access-Control-Allow-Credentials: true\r\n" if self.credentials else b"",
            _EXPOSED,
            _VARY,
        )

    def preflight(self, request: RequestHead) -> Local | None:
        """Answer a preflight request of an allowed origin; return None for every other request.

        Browsers send preflight requests without credentials, so the policy could not admit them.
        """
        headers = request.headers
        wanted_method = headers.get(b"access-control-request-method")
        if request.method != "OPTIONS" or wanted_method is None:
            return None
        origin = headers.get(b"origin")
        if origin is None or (origin not in self.origins and b"*" not in self.origins):
            return None
        methods, requested = ", ".join(ORDINARY_METHODS), wanted_method.decode("latin-1")
        if _NAME.fullmatch(requested) and requested not in ORDINARY_METHODS:
            methods += f", {requested}"
        response_headers = [("Access-Control-Allow-Methods", methods), ("Access-Control-Max-Age", str(self.max_age))]
        wanted = (headers.get(b"access-control-request-headers") or b"").decode("latin-1")
        if len(wanted) <= _LONGEST and _NAMES.fullmatch(wanted):
            response_headers.append(("Access-Control-Allow-Headers", wanted))
        response_headers.append(("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers"))
        return Local(204, headers=response_headers)

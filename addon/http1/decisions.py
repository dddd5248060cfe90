"""What may be decided about a request."""

from collections.abc import Sequence
from dataclasses import dataclass

from addon.http1.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Peer:
    """Who sent the request: the client's address, not that of a trusted proxy in between."""

    address: str
    scheme: str  # "http" or "https", as the client sees it
    # Whether a trusted proxy says so, in whose name the connection stands.
    was_forwarded: bool = False


@dataclass(slots=True)
class Admit:
    """Forward the request."""

    upstream: Upstream
    token_id: str
    user_id: str
    # Ask `first_use` once the upstream connection stands, before anything is sent.
    first_use: bool = False
    # Whole header lines for the reply, e.g. b"RateLimit-Limit: 100\r\n"; with them, the upstream's own rate
    # limit headers are dropped.
    reply_lines: bytes = b""
    # Whatever the policy wants to find again in its callbacks.
    facts: object = None


@dataclass(slots=True)
class Refuse:
    """Answer with an error: JSON, or a small page for a browser."""

    status: int
    code: str
    detail: str
    headers: Sequence[tuple[str, str]] = ()
    # What the detail says beyond its code, in Russian, where somebody has written it.
    note: str = ""
    # The path of the portal's page on which the reader can act, if it is another than that of all tokens.
    page: str = ""


@dataclass(slots=True)
class Local:
    """Answer ourselves: health, status, the browser's way in."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Sequence[tuple[str, str]] = ()


@dataclass(slots=True)
class Defer:
    """The answer needs I/O: `admit_slow` decides."""

    # Collect a request body of at most so many bytes first (a form of our own); zero leaves the body alone.
    body_bytes: int = 0
    facts: object = None


type Decision = Admit | Refuse | Local

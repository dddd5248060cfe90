"""Decisions of the policy about a request: admit, refuse, answer locally, or defer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from addon.http1.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Peer:
    """The client of a request: its own address, not that of a trusted proxy in between."""

    address: str
    scheme: str  # "http" or "https", as the client sees it
    # Whether a trusted proxy has sent these, for a connection of its own.
    was_forwarded: bool = False


@dataclass(slots=True)
class Admit:
    """Forward the request. The policy may add data of its own in a subclass: its callbacks get it with the exchange."""

    upstream: Upstream
    token_id: str
    user_id: str
    # Ask `activate` when the upstream is connected, before anything is sent.
    needs_activation: bool = False
    # Whole header lines for the response, e.g. b"RateLimit-Limit: 100\r\n"; with them, the upstream's own rate
    # limit headers are dropped.
    reply_lines: bytes = b""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error: as JSON, or as an HTML page for a browser. Admission builds it with `refusals.refuse`."""

    status: int
    code: str
    detail: str
    headers: Sequence[tuple[str, str]] = ()
    # The operator's explanation in Russian, if there is one.
    note: str = ""
    # The path of the portal's page for this refusal; empty: the list of tokens.
    page: str = ""
    # The refused token as the policy knows it, for the access log and the token's status; the client never sees it.
    snapshot: object = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Local:
    """Answer without the upstream: health, status, browser login."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Sequence[tuple[str, str]] = ()


@dataclass(slots=True)
class Defer:
    """The decision needs I/O: `admit_slow` makes it."""

    # Collect a request body (a form) of at most this many bytes first; zero: do not read it.
    body_bytes: int = 0
    policy_data: object = None


type Decision = Admit | Refuse | Local

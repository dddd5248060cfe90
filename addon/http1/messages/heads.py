"""Parsed heads of requests and responses, and their header lines."""

# Name in lower case, name as received, value.
type Header = tuple[bytes, bytes, bytes]


class Headers:
    """The header lines of one message, in order; `first` maps a lower-case name to its first value."""

    __slots__ = ("connection", "credentials", "first", "is_cached", "items", "memo", "raw")

    def __init__(self, raw: bytes, items: list[Header], first: dict[bytes, bytes]) -> None:
        # The bytes that were parsed; in a request, preceded by the last digit of the HTTP version.
        self.raw = raw
        self.is_cached = False
        # What the policy has parsed from these lines, for the next request that repeats them.
        self.credentials: object = None
        self.items = items
        self.first = first
        # The options and header names in `Connection`, which must not be forwarded.
        self.connection = _connection_options(items) if b"connection" in first else frozenset()
        # Header lines that forwarding has built from these.
        self.memo: dict[object, bytes] = {}

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of a header, by its lower-case name."""
        return self.first.get(name)

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of a header, by its lower-case name."""
        return [value for lower, _, value in self.items if lower == name]


class RequestHead:
    """One request as the client sent it: well-formed, not necessarily admitted."""

    __slots__ = ("compat", "headers", "http10", "method", "path", "query", "raw_path", "target_authority")

    def __init__(
        self,
        method: str,
        raw_path: bytes,
        query: bytes | None,
        http10: bool,
        headers: Headers,
        *,
        target_authority: bytes | None = None,
    ) -> None:
        self.method = method
        # The path as received, and as sent upstream: they differ below the compatibility prefix.
        self.raw_path = raw_path
        self.path = raw_path
        self.query = query
        # The authority key of a target in absolute form; None in any other form.
        self.target_authority = target_authority
        self.http10 = http10
        self.headers = headers
        self.compat = False

    @property
    def target(self) -> bytes:
        """The path and query that are sent upstream."""
        return self.path if self.query is None else b"%b?%b" % (self.path, self.query)

    @property
    def host(self) -> bytes | None:
        """The requested host: a target in absolute form overrides Host (RFC 9112, section 3.2.2)."""
        return self.headers.first.get(b"host") if self.target_authority is None else self.target_authority

    @property
    def hops_left(self) -> int | None:
        """How many more proxies may forward an OPTIONS request (RFC 9110, section 7.6.2); None: any number."""
        if self.method != "OPTIONS":
            return None
        hops = self.headers.first.get(b"max-forwards")
        return None if hops is None else int(hops)

    @property
    def keep_alive(self) -> bool:
        """Whether the client may send another request on its connection."""
        if self.http10:
            return b"keep-alive" in self.headers.connection and b"close" not in self.headers.connection
        return b"close" not in self.headers.connection

    @property
    def length(self) -> int | None:
        """The length of the body in bytes; None when it is chunked."""
        if b"transfer-encoding" in self.headers.first:
            return None
        return int(self.headers.first.get(b"content-length", b"0"))

    @property
    def wants_websocket(self) -> bool:
        """Whether this is a valid WebSocket upgrade."""
        headers = self.headers
        upgrade = headers.first.get(b"upgrade")
        return (
            upgrade is not None
            and upgrade.lower() == b"websocket"
            and self.method == "GET"
            and not self.http10
            and b"upgrade" in headers.connection
            and b"sec-websocket-key" in headers.first
            and self.length == 0
        )


class ResponseHead:
    """One response head from the upstream."""

    __slots__ = ("headers", "http10", "reason", "status")

    def __init__(self, status: int, reason: bytes, http10: bool, headers: Headers) -> None:
        self.status = status
        self.reason = reason
        self.http10 = http10
        self.headers = headers

    @property
    def keep_alive(self) -> bool:
        """Whether the upstream accepts another request on its connection."""
        if self.http10:
            return b"keep-alive" in self.headers.connection
        return b"close" not in self.headers.connection


def _connection_options(items: list[Header]) -> frozenset[bytes]:
    values = b",".join(value for lower, _, value in items if lower == b"connection")
    return frozenset(option.strip(b" \t").lower() for option in values.split(b","))

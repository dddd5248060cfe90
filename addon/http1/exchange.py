"""One request and its response, as the policy, the counters and the logs see it."""

from addon.http1.decisions import Admit
from addon.http1.messages.heads import RequestHead


class Exchange:
    """The attributes of one exchange, while it lasts and when it has ended.

    `status` is the status that was sent to the client (0: none), `code` the error code of a refusal or failure.
    `bytes_in` and `bytes_out` count body bytes as transferred. Times are readings of the monotonic clock.
    """

    __slots__ = (
        "address",
        "admission",
        "bytes_in",
        "bytes_out",
        "client_address",
        "code",
        "ended",
        "first_byte",
        "forwarded",
        "is_open",
        "request",
        "request_id",
        "sent_head",
        "snapshot",
        "started",
        "status",
        "tunnel",
    )

    def __init__(self, request_id: str, started: float) -> None:
        self.request_id = request_id
        self.started = started
        # When the request head was sent upstream, and the response head to the client; 0: not yet.
        self.forwarded = 0.0
        self.first_byte = 0.0
        self.ended = 0.0
        self.request: RequestHead | None = None
        self.client_address = ""
        self.admission: Admit | None = None
        # What the policy knows of the client, for its own records; also set when it refuses.
        self.snapshot: object = None
        self.address: tuple[str, int] | None = None
        self.status = 0
        self.code = ""
        self.bytes_in = 0
        self.bytes_out = 0
        self.is_open = True
        # Whether the response head was sent to the client: from then on, a failure can only break it off.
        self.sent_head = False
        self.tunnel = False

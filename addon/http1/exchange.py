"""One request and its reply, as counters, logs and cuts see it."""

from addon.http1.decisions import Admit
from addon.http1.messages.head_parser import RequestHead


class Exchange:
    """What is known of one request while it lasts and when it is over.

    `status` is what the client was told (0: nothing), `code` the refusal or failure code, if there was one.
    The byte counts are body bytes as carried. Times are readings of the monotonic clock.
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
        "known",
        "request",
        "request_id",
        "sent_head",
        "started",
        "status",
        "tunnel",
    )

    def __init__(self, request_id: str, started: float) -> None:
        self.request_id = request_id
        self.started = started
        # When the head went to the upstream, and when its reply went to the client; 0: it did not.
        self.forwarded = 0.0
        self.first_byte = 0.0
        self.ended = 0.0
        self.request: RequestHead | None = None
        self.client_address = ""
        self.admission: Admit | None = None
        # What the policy knows of the client, for its own records; also of one that it refused.
        self.known: object = None
        self.address: tuple[str, int] | None = None
        self.status = 0
        self.code = ""
        self.bytes_in = 0
        self.bytes_out = 0
        self.is_open = True
        # Whether the reply's head went to the client: from then on, a failure can only cut.
        self.sent_head = False
        self.tunnel = False

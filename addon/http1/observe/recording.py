"""What is kept of an exchange for someone who watches."""

from typing import Protocol

from addon.http1.exchange import Exchange
from addon.http1.messages.head_parser import ResponseHead


class Recording:
    """The reply's head and the beginning of both bodies, for one observer."""

    __slots__ = ("_cap", "observer", "request_body", "response", "response_body")

    def __init__(self, observer: "Observer", cap: int) -> None:
        self.observer = observer
        self._cap = cap
        self.response: ResponseHead | None = None
        self.request_body = b""
        self.response_body = b""

    def add_request(self, payload: bytes) -> None:
        """Keep a piece of the request's body, up to the cap."""
        if len(self.request_body) < self._cap:
            self.request_body += payload[: self._cap - len(self.request_body)]

    def add_response(self, payload: bytes) -> None:
        """Keep a piece of the reply's body, up to the cap."""
        if len(self.response_body) < self._cap:
            self.response_body += payload[: self._cap - len(self.response_body)]


class Observer(Protocol):
    """Watches exchanges; what it does changes none of them."""

    def begin(self, exchange: Exchange) -> Recording | None:
        """Say whether the exchange shall be recorded, now that it is known whose it is."""

    def opened(self, exchange: Exchange, recording: Recording) -> None:
        """Learn that the exchange became a tunnel, which may last for hours; must not block."""

    def end(self, exchange: Exchange, recording: Recording) -> None:
        """Take the recording of an exchange that is over; must not block."""

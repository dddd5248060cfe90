"""Recordings of exchanges for observers: the response head and the beginning of both bodies."""

import logging
from collections.abc import Iterable
from typing import Protocol

from addon.http1.exchange import Exchange
from addon.http1.messages.heads import ResponseHead

logger = logging.getLogger(__name__)


class Recording:
    """The recording of one exchange for one observer; bodies are kept up to `cap` bytes."""

    __slots__ = ("_cap", "observer", "request_body", "response", "response_body")

    def __init__(self, observer: "Observer", cap: int) -> None:
        self.observer = observer
        self._cap = cap
        self.response: ResponseHead | None = None
        self.request_body = b""
        self.response_body = b""

    def add_request(self, payload: bytes) -> None:
        """Add a piece of the request body."""
        if len(self.request_body) < self._cap:
            self.request_body += payload[: self._cap - len(self.request_body)]

    def add_response(self, payload: bytes) -> None:
        """Add a piece of the response body."""
        if len(self.response_body) < self._cap:
            self.response_body += payload[: self._cap - len(self.response_body)]


class Observer(Protocol):
    """Receives recordings of exchanges; it cannot change an exchange. No method may block."""

    def begin(self, exchange: Exchange) -> Recording | None:
        """Return a recording to be filled, or None; the exchange's token is known."""

    def opened(self, exchange: Exchange, recording: Recording) -> None:
        """Take the recording of an exchange that became a tunnel, which may last for hours."""

    def end(self, exchange: Exchange, recording: Recording) -> None:
        """Take the recording of an exchange that has ended."""


def begin_recordings(observers: Iterable[Observer], exchange: Exchange) -> list[Recording]:
    """Ask each observer for a recording; an observer that fails does not harm the exchange."""
    try:
        begun = [observer.begin(exchange) for observer in observers]
    except Exception:
        logger.exception("an observer failed to begin a recording")
        return []
    return [recording for recording in begun if recording is not None]


def notify_tunnel_opened(recordings: Iterable[Recording], exchange: Exchange) -> None:
    """Notify observers of a tunnel while it is open; without this they would see it only when it has ended."""
    try:
        for recording in recordings:
            recording.observer.opened(exchange, recording)
    except Exception:
        logger.exception("an observer failed to take an open tunnel")

"""What all layers of one worker share."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from addon.http1.connection.registry import Registry
from addon.http1.limits import Limits
from addon.http1.messages.forwarding import Rules
from addon.http1.messages.header_cache import HeaderCache
from addon.http1.observe.recording import Observer
from addon.http1.policy_interface import Policy


@dataclass(slots=True)
class WorkerContext:
    """One worker's policy and settings."""

    policy: Policy
    limits: Limits = field(default_factory=Limits)
    rules: Rules = field(default_factory=Rules)
    registry: Registry = field(default_factory=Registry)
    header_cache: HeaderCache = field(default_factory=HeaderCache)
    # Those who watch just now.
    observers: tuple[Observer, ...] = ()
    clock: Callable[[], float] = time.monotonic

    def add_observer(self, observer: Observer) -> None:
        """Let somebody watch, from the next request on."""
        self.observers = (*self.other_observers(observer), observer)

    def remove_observer(self, observer: Observer) -> None:
        """Somebody no longer watches; what he began to record he still gets."""
        self.observers = self.other_observers(observer)

    def other_observers(self, observer: Observer) -> tuple[Observer, ...]:
        """Return the others."""
        return tuple(other for other in self.observers if other is not observer)

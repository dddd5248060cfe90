"""What all layers of one worker share."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from addon.http1.forwarding import Rules
from addon.http1.limits import Limits
from addon.http1.policy import Policy
from addon.http1.recording import Observer
from addon.http1.registry import Registry
from addon.http1.repeated import Repeated


@dataclass(slots=True)
class Site:
    """One worker's policy and settings."""

    policy: Policy
    limits: Limits = field(default_factory=Limits)
    rules: Rules = field(default_factory=Rules)
    registry: Registry = field(default_factory=Registry)
    repeated: Repeated = field(default_factory=Repeated)
    # Those who watch just now.
    observers: tuple[Observer, ...] = ()
    clock: Callable[[], float] = time.monotonic

    def watch(self, observer: Observer) -> None:
        """Let somebody watch, from the next request on."""
        self.observers = (*self.unwatched(observer), observer)

    def unwatch(self, observer: Observer) -> None:
        """Somebody no longer watches; what he began to record he still gets."""
        self.observers = self.unwatched(observer)

    def unwatched(self, observer: Observer) -> tuple[Observer, ...]:
        """Return the others."""
        return tuple(other for other in self.observers if other is not observer)

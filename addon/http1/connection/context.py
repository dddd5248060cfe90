"""Worker context: the policy, settings and registry that all connections of one worker share."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from addon.http1.clients.registry import Registry
from addon.http1.limits import Limits
from addon.http1.messages.forwarding import Rules
from addon.http1.messages.header_cache import HeaderCache, ResponseHeaderCache
from addon.http1.observe.recording import Observer
from addon.http1.policy_interface import Policy
from addon.http1.upstream_pool.dialing import dial
from addon.http1.upstream_pool.pool import UpstreamPool


@dataclass(slots=True)
class WorkerContext:
    """Shared by the layers of one worker."""

    policy: Policy
    limits: Limits = field(default_factory=Limits)
    rules: Rules = field(default_factory=Rules)
    registry: Registry = field(default_factory=Registry)
    pool: UpstreamPool = field(default_factory=lambda: UpstreamPool(dial))
    header_cache: HeaderCache = field(default_factory=HeaderCache)
    response_cache: ResponseHeaderCache = field(default_factory=ResponseHeaderCache)
    observers: tuple[Observer, ...] = ()
    clock: Callable[[], float] = time.monotonic

    def add_observer(self, observer: Observer) -> None:
        """Record exchanges for an observer, from the next request on."""
        self.observers = (*self._without(observer), observer)

    def remove_observer(self, observer: Observer) -> None:
        """Begin no more recordings for an observer; those that were begun are still delivered."""
        self.observers = self._without(observer)

    def _without(self, observer: Observer) -> tuple[Observer, ...]:
        return tuple(other for other in self.observers if other is not observer)

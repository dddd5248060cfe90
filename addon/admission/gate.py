"""The admission gate: decides from a request's attributes whether it is admitted (docs/spec/http.md#order-of-checks).

A request is refused unless every check passed.
"""

import uuid
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from math import ceil

from addon.admission.guess_limiter import GuessLimiter
from addon.admission.identification import NO_TIER, TokenIdentifier, tier_in_memory
from addon.admission.rate_limits import Allowance, RateLimiter
from addon.admission.refusals import maintenance_refusal, refuse
from addon.admission.request_attributes import RequestAttributes
from addon.admission.request_rules import check_device, check_scope, effective_device
from addon.admission.token_admission import TokenAdmission
from addon.http1.decisions import Refuse
from addon.http1.upstream import Upstream
from addon.recording.counters import Counters
from addon.token_cache.database import DatabaseUnavailable, TokenDatabase
from addon.token_cache.memory_tier import MemoryTier
from models.audit import Origin
from models.config.settings import Settings
from models.services.actor import Actor
from models.services.errors import DeviceConflict, TokenUnusable
from models.services.gateway import request_paths
from models.services.gateway.scopes import compile_all
from models.services.gateway.token_lookup import TokenSnapshot
from models.services.message_catalogue import PATH_FAULTS

_UNUSABLE = {
    "revoked": "token_revoked",
    "expired": "token_expired",
    "paused": "token_paused",
    "disabled": "account_disabled",
}
# Refusals that count as failures of an address. A missing token is no guess, and an outage is not the client's fault.
_COUNTED_FAILURES = {"token_invalid", "token_expired", "token_revoked", "account_disabled"}


class Gate:
    """Decides about requests from the worker's cache, and asks Redis and PostgreSQL about tokens not in it."""

    def __init__(
        self,
        settings: Settings,
        identifier: TokenIdentifier,
        memory_tier: MemoryTier,
        *,
        database: TokenDatabase,
        rate_limiter: RateLimiter,
        guess_limiter: GuessLimiter,
        upstream: Upstream,
        counters: Counters,
    ) -> None:
        self._settings = settings
        self._identifier = identifier
        self._memory_tier = memory_tier
        self._database = database
        self._rate_limiter = rate_limiter
        self._guess_limiter = guess_limiter
        self._upstream = upstream
        self._counters = counters
        self._scopes = compile_all(settings.scopes)
        self._device_policy = settings.sessions.device_policy
        self._maintenance = maintenance_refusal(settings.maintenance)

    @property
    def in_maintenance(self) -> bool:
        """Whether maintenance mode is on: nothing is admitted."""
        return self._maintenance is not None

    def apply_settings(self, settings: Settings) -> None:
        """Apply settings that were changed at run time."""
        self._guess_limiter.limit = settings.limits.failures_per_minute
        self._device_policy = settings.sessions.device_policy
        self._maintenance = maintenance_refusal(settings.maintenance)

    def decide_from_memory(self, attributes: RequestAttributes) -> TokenAdmission | Refuse | None:
        """Make checks 1 to 7 from memory; None when Redis or PostgreSQL has to be asked about the token.

        A token whose device lock another device holds goes on to `check_device_conflict`.
        """
        fault = request_paths.path_fault(attributes.path)
        if fault is not None:
            return self._count_decision(NO_TIER, refuse("bad_request", PATH_FAULTS[fault]))
        if self._maintenance is not None:
            return self._count_decision(NO_TIER, self._maintenance)
        found = self._identifier.identify_from_memory(attributes.credential)
        if found is None:
            return None
        decision = self._apply_rules(found, attributes, self._memory_tier.invalidations)
        return self._count_decision(tier_in_memory(found), decision)

    async def decide(self, attributes: RequestAttributes) -> TokenAdmission | Refuse:
        """Make checks 1 to 7, and ask Redis and PostgreSQL about a token that is not in memory."""
        decision = self.decide_from_memory(attributes)
        if decision is not None:
            return decision
        invalidations = self._memory_tier.invalidations
        found, tier = await self._identifier.identify(attributes.credential)
        return self._count_decision(tier, self._apply_rules(found, attributes, invalidations))

    async def check_device_conflict(self, admission: TokenAdmission) -> TokenAdmission | Refuse:
        """Make check 8 before the upstream is connected; `start_session` decides races for the device lock."""
        snapshot = admission.snapshot
        try:
            locked_for = await self._database.device_locked_for(snapshot.token_id, self._locking_device(admission))
        except DatabaseUnavailable:
            return refuse("unavailable", retry_after=5, snapshot=snapshot)
        return admission if locked_for is None else self._device_conflict(snapshot, locked_for)

    async def start_session(self, admission: TokenAdmission, request_id: str) -> Refuse | None:
        """Make check 10, when the upstream is connected and before anything is sent to it.

        One transaction activates the token and opens its session, or loses the race against another device.
        """
        if admission.session_id is not None:
            return None
        snapshot, attributes = admission.snapshot, admission.attributes
        actor = Actor(snapshot.user_id, attributes.address, attributes.user_agent, request_id, Origin.PROXY)
        try:
            admission.session_id = await self._database.start_session(
                snapshot.token_id, self._locking_device(admission), actor
            )
        except DeviceConflict as error:
            return self._device_conflict(snapshot, error.idle_in)
        except TokenUnusable as error:
            return refuse(_UNUSABLE[error.state])
        except DatabaseUnavailable:
            return refuse("unavailable", retry_after=5)
        return None

    def _count_decision[Decision: TokenAdmission | Refuse](self, tier: str, decision: Decision) -> Decision:
        """Count a decision; one that `check_device_conflict` has to confirm is counted as contested."""
        outcome = (
            "refused" if isinstance(decision, Refuse) else "contested" if decision.needs_device_check else "admitted"
        )
        self._counters.count_decision(tier, outcome)
        return decision

    def _apply_rules(
        self, found: TokenSnapshot | Refuse, attributes: RequestAttributes, invalidations: int
    ) -> TokenAdmission | Refuse:
        """Make checks 4 to 7 of an identified token; count a failed identification."""
        if isinstance(found, Refuse):
            return self._count_failure(found, attributes.address)
        device = effective_device(found, attributes)
        refusal = check_device(self._device_policy, device) or check_scope(self._scopes.get(found.scope), attributes)
        if refusal is not None:
            return replace(refusal, snapshot=found)
        allowance = self._rate_limiter.take(found.token_id)
        if not allowance.allowed:
            reason = "Too many requests are under way." if allowance.is_concurrency_limited else ""
            return refuse("rate_limited", reason, retry_after=allowance.reset, snapshot=found)
        session_id = self._joinable_session(found, device)
        return TokenAdmission(
            self._upstream,
            _text(found.token_id),
            _text(found.user_id),
            session_id is None,
            _rate_limit_lines(allowance),
            snapshot=found,
            attributes=attributes,
            allowance=allowance,
            invalidations=invalidations,
            session_id=session_id,
        )

    def _device_conflict(self, snapshot: TokenSnapshot, idle_in: timedelta) -> Refuse:
        """Refuse with both ways to end the conflict: the page on which the owner releases the device, and waiting."""
        page = f"/tokens/{snapshot.token_id}#device"
        reason = f"Release it at {self._settings.portal.address}{page}, or wait until it has been idle."
        seconds = ceil(idle_in.total_seconds())
        return refuse("device_conflict", reason, retry_after=seconds, snapshot=snapshot, page=page)

    def _joinable_session(self, snapshot: TokenSnapshot, device: str | None) -> uuid.UUID | None:
        """Return the session that this device may use at once; None when `start_session` has to open or join one."""
        if not snapshot.is_activated:
            return None
        is_joinable = self._device_policy == "off" or snapshot.device_id == device
        return snapshot.session_id if is_joinable else None

    def _count_failure(self, refusal: Refuse, address: str) -> Refuse:
        """Count an unusable token; an address above the limit of failures gets only that it is above it."""
        if refusal.code not in _COUNTED_FAILURES:
            return refusal
        retry_after = self._guess_limiter.retry_after(address)
        self._guess_limiter.add(address)
        if retry_after is None:
            return refusal
        return refuse("too_many_failures", retry_after=retry_after, snapshot=refusal.snapshot)

    def _locking_device(self, admission: TokenAdmission) -> str | None:
        if self._device_policy == "off":
            return None
        return effective_device(admission.snapshot, admission.attributes)


# The text of a UUID, which takes longer to make than to find.
_text = lru_cache(maxsize=4096)(str)


def _rate_limit_lines(allowance: Allowance) -> bytes:
    return b"RateLimit-Limit: %d\r\nRateLimit-Remaining: %d\r\nRateLimit-Reset: %d\r\n" % (
        allowance.limit,
        allowance.remaining,
        allowance.reset,
    )

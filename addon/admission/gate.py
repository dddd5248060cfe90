"""The admission gate: decides from request attributes whether a request is admitted.

A request is rejected unless every check passed. Order of checks: docs/spec/http.md#order-of-checks.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil

from addon.admission.credentials import Credential
from addon.admission.guess_limiter import GuessLimiter
from addon.admission.rate_limits import RateLimiter
from addon.admission.refusals import maintenance_refusal, refuse, token_refusal
from addon.admission.request_attributes import Admit, RequestAttributes
from addon.admission.request_rules import check_device, check_scope, effective_device, stored_device_name
from addon.http1.decisions import Refuse
from addon.recording.counters import Counters
from addon.token_cache.database import DatabaseUnavailable, TokenDatabase
from addon.token_cache.memory_tier import MemoryTier
from addon.token_cache.redis_tier import RedisTier
from models import clock
from models.audit import Origin
from models.config.settings import Settings
from models.services.actor import Actor
from models.services.crypto import secrets
from models.services.crypto.secrets import Purpose
from models.services.errors import DeviceConflict, TokenUnusable
from models.services.gateway import request_paths
from models.services.gateway.scopes import compile_all
from models.services.gateway.token_lookup import TokenSnapshot
from models.services.message_catalogue import PATH_FAULTS

# How long a well-formed secret without a token is cached as negative; a made-up one fails its MAC before.
NEGATIVE_SECONDS = 5.0
NEGATIVE_ENTRIES = 10_000
_UNUSABLE = {
    "revoked": "token_revoked",
    "expired": "token_expired",
    "paused": "token_paused",
    "disabled": "account_disabled",
}
# The tier of what was decided without looking a token up: there was none, it was made up, or nobody could be asked.
NO_TIER = "none"
# What counts as a failure of an address. No token at all is no guess, and an outage is not the client's fault.
_COUNTED_FAILURES = {"token_invalid", "token_expired", "token_revoked", "account_disabled"}


class Gate:
    """Decides on requests from what the worker knows, and asks the database when it does not know."""

    def __init__(
        self,
        settings: Settings,
        database: TokenDatabase,
        memory_tier: MemoryTier,
        *,
        redis_tier: RedisTier,
        rate_limiter: RateLimiter,
        counters: Counters | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._counters = counters or Counters()
        self._database = database
        self._memory_tier = memory_tier
        self._redis_tier = redis_tier
        self._rate_limiter = rate_limiter
        self._guess_limiter = GuessLimiter(settings.limits.failures_per_minute, monotonic)
        self._negative: dict[bytes, float] = {}
        self._scopes = compile_all(settings.scopes)
        self._device_policy = settings.sessions.device_policy
        self._maintenance = maintenance_refusal(settings.maintenance)
        self._monotonic = monotonic
        self._latest = clock.now()

    @property
    def can_decide(self) -> bool:
        """Whether what this worker knows is kept true by the database's notices."""
        return self._monotonic() < self._memory_tier.leased_until

    @property
    def in_maintenance(self) -> bool:
        """Whether maintenance mode is on: nothing is admitted."""
        return self._maintenance is not None

    def apply_settings(self, settings: Settings) -> None:
        """Apply settings that were changed at run time."""
        self._guess_limiter.limit = settings.limits.failures_per_minute
        self._device_policy = settings.sessions.device_policy
        self._maintenance = maintenance_refusal(settings.maintenance)

    def decide_from_memory(self, attributes: RequestAttributes) -> Admit | Refuse | None:
        """Decide steps 1 to 7 of docs/spec/http.md#order-of-checks from memory; None when the database must be asked.

        A token whose device lock another device holds goes on to `check_device_conflict`.
        """
        fault = request_paths.path_fault(attributes.path)
        if fault is not None:
            return self._count_decision(NO_TIER, refuse("bad_request", PATH_FAULTS[fault]))
        if self._maintenance is not None:
            return self._count_decision(NO_TIER, self._maintenance)
        found = self.identify_from_memory(attributes.credential)
        if found is None:
            return None
        return self._count_decision(
            _tier_in_memory(found), self._apply_rules(found, attributes, self._memory_tier.invalidations)
        )

    async def decide(self, attributes: RequestAttributes) -> Admit | Refuse:
        """Answer as `decide_from_memory` does, asking the database where that is needed."""
        decision = self.decide_from_memory(attributes)
        if decision is not None:
            return decision
        invalidations = self._memory_tier.invalidations
        found, tier = await self._identify(attributes.credential)
        return self._count_decision(tier, self._apply_rules(found, attributes, invalidations))

    async def check_device_conflict(self, admitted: Admit, attributes: RequestAttributes) -> Admit | Refuse:
        """Answer step 8 for a contested token, before anybody goes to the upstream; `begin` has the last word."""
        try:
            held_for = await self._database.device_locked_for(
                admitted.snapshot.token_id, self._locking_device(admitted.snapshot, attributes)
            )
        except DatabaseUnavailable:
            return refuse("unavailable", retry_after=5, snapshot=admitted.snapshot)
        return admitted if held_for is None else self._device_conflict(admitted.snapshot, held_for)

    def identify_from_memory(self, credential: Credential | None) -> TokenSnapshot | Refuse | None:
        """Answer steps 2 and 3 from memory: whose token is this, and is it good? None when nobody here knows."""
        if credential is None:
            return refuse("token_missing")
        secret_hash = credential.secret_hash or self._secret_hash(credential)
        if secret_hash is None:
            return refuse("token_invalid")
        snapshot = self._memory_tier.get(secret_hash)
        if snapshot is None or self._monotonic() >= self._memory_tier.leased_until:
            return None
        return token_refusal(snapshot, self._time()) or snapshot

    async def identify(self, credential: Credential | None) -> TokenSnapshot | Refuse:
        """Answer steps 2 and 3, asking the database where that is needed. Never activates anything."""
        found, _ = await self._identify(credential)
        return found

    async def _identify(self, credential: Credential | None) -> tuple[TokenSnapshot | Refuse, str]:
        """Answer as `identify` does, and name the tier that knew."""
        found = self.identify_from_memory(credential)
        if found is not None or credential is None:
            found = found or refuse("token_missing")
            return found, _tier_in_memory(found)
        secret_hash = self._secret_hash(credential)
        if secret_hash is None:
            return refuse("token_invalid"), NO_TIER
        try:
            snapshot, tier = await self._look_up(secret_hash, credential.purpose)
        except DatabaseUnavailable:
            return refuse("unavailable", retry_after=5), NO_TIER
        if snapshot is None:
            return refuse("token_invalid"), tier
        return token_refusal(snapshot, self._time()) or snapshot, tier

    async def start_session(self, admitted: Admit, attributes: RequestAttributes, request_id: str) -> Admit | Refuse:
        """Answer step 10, when the upstream can be reached and before anything is sent to it.

        One transaction activates the token and opens its session, or finds that somebody else was quicker.
        """
        if admitted.session_id is not None:
            return admitted
        actor = Actor(admitted.snapshot.user_id, attributes.address, attributes.user_agent, request_id, Origin.PROXY)
        try:
            session_id = await self._database.start_session(
                admitted.snapshot.token_id, self._locking_device(admitted.snapshot, attributes), actor
            )
        except DeviceConflict as error:
            return self._device_conflict(admitted.snapshot, error.idle_in)
        except TokenUnusable as error:
            return refuse(_UNUSABLE[error.state])
        except DatabaseUnavailable:
            return refuse("unavailable", retry_after=5)
        return admitted._replace(session_id=session_id)

    async def _look_up(self, secret_hash: bytes, purpose: Purpose) -> tuple[TokenSnapshot | None, str]:
        """Ask Redis, then the database; what is unknown to both is remembered as such for a moment.

        Returns what was found, and the tier that knew it.
        """
        if self._monotonic() < self._negative.get(secret_hash, 0):
            return None, "negative"
        # Redis is told of changes by the token's own hash, so cookies are not kept there.
        is_shared = purpose is Purpose.TOKEN
        invalidations = self._memory_tier.invalidations
        if is_shared and self.can_decide:
            shared = await self._redis_tier.get(secret_hash, stored_since=self._memory_tier.connected_since)
            if shared is not None:
                self._memory_tier.put(secret_hash, shared, invalidations_before=invalidations)
                return shared, "redis"
        try:
            found = await (
                self._database.find(secret_hash) if is_shared else self._database.find_by_cookie(secret_hash)
            )
        except DatabaseUnavailable:
            return await self._look_up_without_database(secret_hash, is_shared=is_shared)
        if found is None:
            self._cache_negative(secret_hash)
            return None, "negative"
        if (
            self._memory_tier.put(secret_hash, found, invalidations_before=invalidations)
            and is_shared
            and self.can_decide
        ):
            await self._redis_tier.put(secret_hash, found)
        return found, "database"

    async def _look_up_without_database(self, secret_hash: bytes, *, is_shared: bool) -> tuple[TokenSnapshot, str]:
        """While the database does not answer, what was proven good passes for the grace, and not longer.

        It may be down for this worker alone, which then hears of no change; and when no other worker runs, nobody
        leaves a tombstone in Redis. So an entry of Redis passes while our own cache would, if it was stored while we
        heard all changes, or for the grace from when it was stored: whoever stored it had just read it.
        """
        grace = self._settings.proxy.grace_seconds
        is_within_grace = self._monotonic() < self._memory_tier.leased_until + grace
        if is_shared:
            proven_since = time.time() - grace
            if is_within_grace:
                proven_since = min(proven_since, self._memory_tier.connected_since)
            shared = await self._redis_tier.get(secret_hash, stored_since=proven_since)
            if shared is not None:
                return shared, "redis"
        snapshot = self._memory_tier.get(secret_hash)
        if snapshot is None or not is_within_grace:
            raise DatabaseUnavailable("no proven snapshot of the token is cached")
        if is_shared and await self._redis_tier.has_newer(secret_hash, snapshot.version):
            raise DatabaseUnavailable("the token has changed since it was last read")
        return snapshot, "memory"

    def _time(self) -> datetime:
        """Return the time, never earlier than this worker has decided by: a step back revives no expired token."""
        self._latest = max(self._latest, clock.now())
        return self._latest

    def _cache_negative(self, secret_hash: bytes) -> None:
        self._negative[secret_hash] = self._monotonic() + NEGATIVE_SECONDS
        if len(self._negative) > NEGATIVE_ENTRIES:
            del self._negative[next(iter(self._negative))]

    def _count_decision[Decision: Admit | Refuse](self, tier: str, decision: Decision) -> Decision:
        """Count a decision; one that `settle` has to confirm is counted as contested."""
        outcome = (
            "refused" if isinstance(decision, Refuse) else "contested" if decision.needs_device_check else "admitted"
        )
        self._counters.count_decision(tier, outcome)
        return decision

    def _apply_rules(
        self, snapshot: TokenSnapshot | Refuse, attributes: RequestAttributes, invalidations: int
    ) -> Admit | Refuse:
        """Answer steps 4 to 7 for a token that was found good or bad."""
        if isinstance(snapshot, Refuse):
            return self._count_failure(snapshot, attributes.address)
        device = effective_device(snapshot, attributes)
        refusal = check_device(self._device_policy, device) or check_scope(self._scopes.get(snapshot.scope), attributes)
        if refusal is not None:
            return replace(refusal, snapshot=snapshot)
        allowance = self._rate_limiter.take(snapshot.token_id)
        if not allowance.allowed:
            reason = "Too many requests are under way." if allowance.is_concurrency_limited else ""
            return refuse("rate_limited", reason, retry_after=allowance.reset, snapshot=snapshot)
        return Admit(snapshot, self._session_for(snapshot, device), invalidations, allowance)

    def _device_conflict(self, snapshot: TokenSnapshot, idle_in: timedelta) -> Refuse:
        """Name the ways out of a conflict: the page on which the owner releases the device, or waiting."""
        page = f"/tokens/{snapshot.token_id}#device"
        reason = f"Release it at {self._settings.portal.address}{page}, or wait until it has been idle."
        return refuse("device_conflict", reason, retry_after=ceil(idle_in.total_seconds()), snapshot=snapshot, page=page)

    def _session_for(self, snapshot: TokenSnapshot, device: str | None) -> uuid.UUID | None:
        """Return the session that this device may use without asking; None when `begin` has to see to it."""
        if not snapshot.is_activated:
            return None
        mine = self._device_policy == "off" or snapshot.device_id == device
        return snapshot.session_id if mine else None

    def _count_failure(self, refusal: Refuse, address: str) -> Refuse:
        """Count a token that is no good; from an address with too many of them it is not worth more words."""
        if refusal.code not in _COUNTED_FAILURES:
            return refusal
        retry_after = self._guess_limiter.retry_after(address)
        self._guess_limiter.add(address)
        if retry_after is None:
            return refusal
        return refuse("too_many_failures", retry_after=retry_after, snapshot=refusal.snapshot)

    def _locking_device(self, snapshot: TokenSnapshot, attributes: RequestAttributes) -> str | None:
        return None if self._device_policy == "off" else effective_device(snapshot, attributes)

    def device_name(self, sent: str) -> str:
        """Return the name under which a device is kept."""
        return stored_device_name(self._settings.tokens, sent)

    def _secret_hash(self, credential: Credential) -> bytes | None:
        """Return the hash under which a genuine secret is kept, None for a made-up one."""
        if credential.secret_hash is None:
            keys, secret, purpose = self._settings.tokens, credential.secret, credential.purpose
            if secrets.is_genuine(keys, secret, purpose):
                credential.secret_hash = secrets.hash_of(keys, secret, purpose)
        return credential.secret_hash


def _tier_in_memory(found: TokenSnapshot | Refuse) -> str:
    """Name the tier of what memory alone has answered."""
    return NO_TIER if isinstance(found, Refuse) and found.snapshot is None else "memory"

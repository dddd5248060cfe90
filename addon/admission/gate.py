"""Who may pass. The gate knows nothing of bytes or sockets: facts in, `Admit` or `Refuse` out.

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
from addon.admission.rate_limits import Rates
from addon.admission.refusals import Refuse, closed_for, unusable
from addon.admission.request_facts import Admit, RequestAttributes
from addon.admission.request_rules import device_fault, device_name, device_of, scope_fault
from addon.recording.counters import Counters
from addon.token_cache.database import StoreDown, TokenDatabase
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
from models.services.gateway.sessions import TokenSnapshot
from models.services.message_catalogue import PATH_FAULTS

# A genuine secret that nobody has is remembered as unknown for so long; a made-up one fails its MAC before that.
UNKNOWN_SECONDS = 5.0
UNKNOWN_TOKENS = 10_000
_UNUSABLE = {
    "revoked": "token_revoked",
    "expired": "token_expired",
    "paused": "token_paused",
    "disabled": "account_disabled",
}
# The tier of what was decided without looking a token up: there was none, it was made up, or nobody could be asked.
NOBODY = "none"
# What counts as a failure of an address. No token at all is no guess, and an outage is not the client's fault.
_GUESSES = {"token_invalid", "token_expired", "token_revoked", "account_disabled"}


class Gate:
    """Decides on requests from what the worker knows, and asks the database when it does not know."""

    def __init__(
        self,
        settings: Settings,
        store: TokenDatabase,
        known: MemoryTier,
        *,
        shared: RedisTier,
        rates: Rates,
        counts: Counters | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._counts = counts or Counters()
        self._store = store
        self._known = known
        self._shared = shared
        self._rates = rates
        self._failures = GuessLimiter(settings.limits.failures_per_minute, monotonic)
        self._unknown: dict[bytes, float] = {}
        self._scopes = compile_all(settings.scopes)
        self._device_policy = settings.sessions.device_policy
        self._closed = closed_for(settings.maintenance)
        self._monotonic = monotonic
        self._latest = clock.now()

    @property
    def can_decide(self) -> bool:
        """Whether what this worker knows is kept true by the database's notices."""
        return self._monotonic() < self._known.trusted_until

    @property
    def is_closed(self) -> bool:
        """Whether maintenance mode is on: nothing is admitted."""
        return self._closed is not None

    def take_up(self, settings: Settings) -> None:
        """Decide by what was changed at run time from now on."""
        self._failures.limit = settings.limits.failures_per_minute
        self._device_policy = settings.sessions.device_policy
        self._closed = closed_for(settings.maintenance)

    def decide_now(self, facts: RequestAttributes) -> Admit | Refuse | None:
        """Decide steps 1 to 7 of docs/spec/http.md#order-of-checks from memory; None when the database must be asked.

        A token that is contested goes on to `settle`.
        """
        fault = request_paths.fault(facts.path)
        if fault is not None:
            return self._counted(NOBODY, Refuse("bad_request", PATH_FAULTS[fault]))
        if self._closed is not None:
            return self._counted(NOBODY, self._closed)
        found = self.identify_now(facts.credential)
        if found is None:
            return None
        return self._counted(_tier_of(found), self._judge(found, facts, self._known.notices))

    async def decide(self, facts: RequestAttributes) -> Admit | Refuse:
        """Answer as `decide_now` does, asking the database where that is needed."""
        decision = self.decide_now(facts)
        if decision is not None:
            return decision
        notices = self._known.notices
        found, tier = await self._identify(facts.credential)
        return self._counted(tier, self._judge(found, facts, notices))

    async def settle(self, admitted: Admit, facts: RequestAttributes) -> Admit | Refuse:
        """Answer step 8 for a contested token, before anybody goes to the upstream; `begin` has the last word."""
        try:
            held_for = await self._store.held_for(admitted.known.token_id, self._holder(admitted.known, facts))
        except StoreDown:
            return Refuse("unavailable", retry_after=5, known=admitted.known)
        return admitted if held_for is None else self._conflict(admitted.known, held_for)

    def identify_now(self, credential: Credential | None) -> TokenSnapshot | Refuse | None:
        """Answer steps 2 and 3 from memory: whose token is this, and is it good? None when nobody here knows."""
        if credential is None:
            return Refuse("token_missing")
        secret_hash = credential.secret_hash or self._hash_of(credential)
        if secret_hash is None:
            return Refuse("token_invalid")
        known = self._known.get(secret_hash)
        if known is None or self._monotonic() >= self._known.trusted_until:
            return None
        return unusable(known, self._time()) or known

    async def identify(self, credential: Credential | None) -> TokenSnapshot | Refuse:
        """Answer steps 2 and 3, asking the database where that is needed. Never activates anything."""
        found, _ = await self._identify(credential)
        return found

    async def _identify(self, credential: Credential | None) -> tuple[TokenSnapshot | Refuse, str]:
        """Answer as `identify` does, and name the tier that knew."""
        found = self.identify_now(credential)
        if found is not None or credential is None:
            found = found or Refuse("token_missing")
            return found, _tier_of(found)
        secret_hash = self._hash_of(credential)
        if secret_hash is None:
            return Refuse("token_invalid"), NOBODY
        try:
            known, tier = await self._look_up(secret_hash, credential.purpose)
        except StoreDown:
            return Refuse("unavailable", retry_after=5), NOBODY
        if known is None:
            return Refuse("token_invalid"), tier
        return unusable(known, self._time()) or known, tier

    async def begin(self, admitted: Admit, facts: RequestAttributes, request_id: str) -> Admit | Refuse:
        """Answer step 10, when the upstream can be reached and before anything is sent to it.

        One transaction activates the token and opens its session, or finds that somebody else was quicker.
        """
        if admitted.session_id is not None:
            return admitted
        actor = Actor(admitted.known.user_id, facts.address, facts.user_agent, request_id, Origin.PROXY)
        try:
            session_id = await self._store.begin(admitted.known.token_id, self._holder(admitted.known, facts), actor)
        except DeviceConflict as error:
            return self._conflict(admitted.known, error.idle_in)
        except TokenUnusable as error:
            return Refuse(_UNUSABLE[error.state])
        except StoreDown:
            return Refuse("unavailable", retry_after=5)
        return admitted._replace(session_id=session_id)

    async def _look_up(self, secret_hash: bytes, purpose: Purpose) -> tuple[TokenSnapshot | None, str]:
        """Ask Redis, then the database; what is unknown to both is remembered as such for a moment.

        Returns what was found, and the tier that knew it.
        """
        if self._monotonic() < self._unknown.get(secret_hash, 0):
            return None, "unknown"
        # Redis is told of changes by the token's own hash, so cookies are not kept there.
        is_shared = purpose is Purpose.TOKEN
        notices = self._known.notices
        if is_shared and self.can_decide:
            shared = await self._shared.get(secret_hash, stored_since=self._known.listening_since)
            if shared is not None:
                self._known.put(secret_hash, shared, notices_before=notices)
                return shared, "redis"
        try:
            found = await (self._store.find(secret_hash) if is_shared else self._store.find_by_cookie(secret_hash))
        except StoreDown:
            return await self._without_database(secret_hash, is_shared=is_shared)
        if found is None:
            self._remember_unknown(secret_hash)
            return None, "unknown"
        if self._known.put(secret_hash, found, notices_before=notices) and is_shared and self.can_decide:
            await self._shared.put(secret_hash, found)
        return found, "database"

    async def _without_database(self, secret_hash: bytes, *, is_shared: bool) -> tuple[TokenSnapshot, str]:
        """While the database does not answer, what was proven good passes for the grace, and not longer.

        It may be down for this worker alone, which then hears of no change; and when no other worker runs, nobody
        leaves a tombstone in Redis. So an entry of Redis passes while our own cache would, if it was stored while we
        heard all changes, or for the grace from when it was stored: whoever stored it had just read it.
        """
        grace = self._settings.proxy.grace_seconds
        is_within_grace = self._monotonic() < self._known.trusted_until + grace
        if is_shared:
            proven_since = time.time() - grace
            if is_within_grace:
                proven_since = min(proven_since, self._known.listening_since)
            shared = await self._shared.get(secret_hash, stored_since=proven_since)
            if shared is not None:
                return shared, "redis"
        known = self._known.get(secret_hash)
        if known is None or not is_within_grace:
            raise StoreDown("nothing that is proven is known of the token")
        if is_shared and await self._shared.has_newer(secret_hash, known.version):
            raise StoreDown("the token has changed since it was last read")
        return known, "map"

    def _time(self) -> datetime:
        """Return the time, never earlier than this worker has decided by: a step back revives no expired token."""
        self._latest = max(self._latest, clock.now())
        return self._latest

    def _remember_unknown(self, secret_hash: bytes) -> None:
        self._unknown[secret_hash] = self._monotonic() + UNKNOWN_SECONDS
        if len(self._unknown) > UNKNOWN_TOKENS:
            del self._unknown[next(iter(self._unknown))]

    def _counted[Decision: Admit | Refuse](self, tier: str, decision: Decision) -> Decision:
        """Count a decision; one that `settle` has to confirm is counted as contested."""
        outcome = "refused" if isinstance(decision, Refuse) else "contested" if decision.is_contested else "admitted"
        self._counts.decided(tier, outcome)
        return decision

    def _judge(self, known: TokenSnapshot | Refuse, facts: RequestAttributes, notices: int) -> Admit | Refuse:
        """Answer steps 4 to 7 for a token that was found good or bad."""
        if isinstance(known, Refuse):
            return self._failed(known, facts.address)
        device = device_of(known, facts)
        refusal = device_fault(self._device_policy, device) or scope_fault(self._scopes.get(known.scope), facts)
        if refusal is not None:
            return replace(refusal, known=known)
        allowance = self._rates.take(known.token_id)
        if not allowance.allowed:
            reason = "Too many requests are under way." if allowance.is_crowded else ""
            return Refuse("rate_limited", reason, retry_after=allowance.reset, known=known)
        return Admit(known, self._held_session(known, device), notices, allowance)

    def _conflict(self, known: TokenSnapshot, idle_in: timedelta) -> Refuse:
        """Name the ways out of a conflict: the page on which the owner releases the device, or waiting."""
        page = f"/tokens/{known.token_id}#device"
        reason = f"Release it at {self._settings.portal.address}{page}, or wait until it has been idle."
        return Refuse("device_conflict", reason, retry_after=ceil(idle_in.total_seconds()), known=known, page=page)

    def _held_session(self, known: TokenSnapshot, device: str | None) -> uuid.UUID | None:
        """Return the session that this device may use without asking; None when `begin` has to see to it."""
        if not known.is_activated:
            return None
        mine = self._device_policy == "off" or known.device_id == device
        return known.session_id if mine else None

    def _failed(self, refusal: Refuse, address: str) -> Refuse:
        """Count a token that is no good; from an address with too many of them it is not worth more words."""
        if refusal.code not in _GUESSES:
            return refusal
        retry_after = self._failures.retry_after(address)
        self._failures.add(address)
        if retry_after is None:
            return refusal
        return Refuse("too_many_failures", retry_after=retry_after, known=refusal.known)

    def _holder(self, known: TokenSnapshot, facts: RequestAttributes) -> str | None:
        return None if self._device_policy == "off" else device_of(known, facts)

    def device_name(self, sent: str) -> str:
        """Return the name under which a device is kept."""
        return device_name(self._settings.tokens, sent)

    def _hash_of(self, credential: Credential) -> bytes | None:
        """Return the hash under which a genuine secret is kept, None for a made-up one."""
        if credential.secret_hash is None:
            keys, secret, purpose = self._settings.tokens, credential.secret, credential.purpose
            if secrets.is_genuine(keys, secret, purpose):
                credential.secret_hash = secrets.hash_of(keys, secret, purpose)
        return credential.secret_hash


def _tier_of(found: TokenSnapshot | Refuse) -> str:
    """Name the tier of what memory alone has answered."""
    return NOBODY if isinstance(found, Refuse) and found.known is None else "map"

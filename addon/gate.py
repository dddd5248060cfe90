"""Who may pass. The gate knows nothing of bytes or sockets: facts in, `Admit` or `Refuse` out.

It refuses unless everything said yes. The order of the questions is that of contract.md, section 2.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from addon import paths
from addon.credentials import Credential
from addon.known import KnownTokens
from addon.refusals import Refuse
from addon.scopes import compile_all
from addon.store import Store, StoreDown
from models import clock
from models.config import Settings
from models.services import secrets
from models.services.context import Actor
from models.services.errors import DeviceConflict, TokenUnusable
from models.services.sessions import Known

DEVICE_LENGTH = range(8, 256)
_UNUSABLE = {
    "revoked": "token_revoked",
    "expired": "token_expired",
    "paused": "token_paused",
    "disabled": "account_disabled",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a request says of itself. `path` is the raw path without prefix and query; `address` the client's."""

    address: str
    method: str
    path: bytes
    credential: Credential | None
    device: str | None
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class Admit:
    """The request may pass. `session_id` is None until `begin` has opened or joined the token's session.

    `notices` is how many notices of changes had come when the decision's facts were read.
    """

    known: Known
    session_id: uuid.UUID | None
    notices: int


class Gate:
    """Decides on requests from what the worker knows, and asks the database when it does not know."""

    def __init__(
        self, settings: Settings, store: Store, known: KnownTokens, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._store = store
        self._known = known
        self._scopes = compile_all(settings.scopes)
        self._monotonic = monotonic

    @property
    def can_decide(self) -> bool:
        """Whether what this worker knows is kept true by the database's notices."""
        return self._monotonic() < self._known.trusted_until

    def decide_now(self, facts: Facts) -> Admit | Refuse | None:
        """Answer steps 1 to 8 of the contract's order from memory alone; None when the database must be asked.

        Whether the device may hold the token's session is settled by `begin`.
        """
        fault = paths.canonical_fault(facts.path)
        if fault is not None:
            return Refuse("bad_request", fault)
        found = self.identify_now(facts.credential)
        return self._judge(found, facts, self._known.notices) if isinstance(found, Known) else found

    async def decide(self, facts: Facts) -> Admit | Refuse:
        """Answer as `decide_now` does, asking the database where that is needed."""
        decision = self.decide_now(facts)
        if decision is not None:
            return decision
        notices = self._known.notices
        found = await self.identify(facts.credential)
        return self._judge(found, facts, notices) if isinstance(found, Known) else found

    def identify_now(self, credential: Credential | None) -> Known | Refuse | None:
        """Answer steps 2 and 3 from memory: whose token is this, and is it good? None when nobody here knows."""
        if credential is None:
            return Refuse("token_missing")
        if not secrets.is_genuine(self._settings.tokens, credential.secret):
            return Refuse("token_invalid")
        known = self._known.get(secrets.hash_of(self._settings.tokens, credential.secret))
        if known is None or self._monotonic() >= self._known.trusted_until:
            return None
        return unusable(known, clock.now()) or known

    async def identify(self, credential: Credential | None) -> Known | Refuse:
        """Answer steps 2 and 3, asking the database where that is needed. Never activates anything."""
        found = self.identify_now(credential)
        if found is not None or credential is None:
            return found or Refuse("token_missing")
        try:
            known = await self._look_up(secrets.hash_of(self._settings.tokens, credential.secret))
        except StoreDown:
            return Refuse("unavailable", retry_after=5)
        if known is None:
            return Refuse("token_invalid")
        return unusable(known, clock.now()) or known

    async def begin(self, admitted: Admit, facts: Facts) -> Admit | Refuse:
        """Answer step 10, when the upstream can be reached and before anything is sent to it.

        One transaction activates the token and opens its session, or finds that somebody else was quicker.
        """
        if admitted.session_id is not None:
            return admitted
        actor = Actor(admitted.known.user_id, facts.address, facts.user_agent)
        try:
            session_id = await self._store.begin(admitted.known.token_id, self._device(facts), actor)
        except DeviceConflict:
            return Refuse("device_conflict")
        except TokenUnusable as error:
            return Refuse(_UNUSABLE[error.state])
        except StoreDown:
            return Refuse("unavailable", retry_after=5)
        return replace(admitted, session_id=session_id)

    async def _look_up(self, secret_hash: bytes) -> Known | None:
        """Ask the database. While it is down, what this worker knows passes for the grace."""
        notices = self._known.notices
        try:
            found = await self._store.find(secret_hash)
        except StoreDown:
            known = self._known.get(secret_hash)
            if known is None or self._monotonic() >= self._known.trusted_until + self._settings.proxy.grace_seconds:
                raise
            return known
        if found is not None:
            self._known.put(secret_hash, found, notices_before=notices)
        return found

    def _judge(self, known: Known, facts: Facts, notices: int) -> Admit | Refuse:
        rules = self._settings.sessions
        if facts.device is None:
            if rules.device_policy == "required":
                return Refuse("device_missing")
        elif rules.device_policy != "off" and len(facts.device) not in DEVICE_LENGTH:
            return Refuse("device_invalid")
        scope = self._scopes.get(known.scope)
        if scope is None:
            return Refuse("scope_denied")
        if not scope.is_unrestricted and not scope.allows(facts.method, paths.decoded_segments(facts.path)):
            return Refuse("scope_denied")
        holds = known.session_id is not None and (
            rules.device_policy == "off" or known.device_id == self._device(facts)
        )
        return Admit(known, known.session_id if holds and known.is_activated else None, notices)

    def _device(self, facts: Facts) -> str | None:
        return None if self._settings.sessions.device_policy == "off" else facts.device


def unusable(known: Known, moment: datetime) -> Refuse | None:
    """Say why a token cannot be used at `moment`, if it cannot."""
    if not known.owner_is_active:
        return Refuse("account_disabled")
    if known.is_revoked:
        return Refuse("token_revoked")
    if known.is_paused:
        return Refuse("token_paused")
    if known.expires_at is not None and known.expires_at <= moment:
        return Refuse("token_expired")
    return None

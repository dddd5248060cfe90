"""Identification of a request's token by its credential: steps 2 and 3 of docs/spec/http.md#order-of-checks."""

from datetime import datetime

from addon.admission.credentials import Credential
from addon.admission.refusals import refuse, token_refusal
from addon.http1.decisions import Refuse
from addon.token_cache.database import DatabaseUnavailable
from addon.token_cache.lookup import TokenLookup
from models import clock
from models.config.server import Tokens
from models.services.crypto import secrets
from models.services.gateway.token_lookup import TokenSnapshot

# The tier of a decision without a look-up: no credential, a made-up secret, or PostgreSQL does not answer.
NO_TIER = "none"


class TokenIdentifier:
    """Finds the token of a credential, or says why it cannot be used. Never activates a token."""

    def __init__(self, keys: Tokens, lookup: TokenLookup) -> None:
        self._keys = keys
        self._lookup = lookup
        self._latest = clock.now()

    def identify_from_memory(self, credential: Credential | None) -> TokenSnapshot | Refuse | None:
        """Answer from memory; None when Redis or PostgreSQL has to be asked."""
        if credential is None:
            return refuse("token_missing")
        secret_hash = credential.secret_hash or self._secret_hash(credential)
        if secret_hash is None:
            return refuse("token_invalid")
        snapshot = self._lookup.find_in_memory(secret_hash)
        return None if snapshot is None else token_refusal(snapshot, self._now()) or snapshot

    async def identify(self, credential: Credential | None) -> tuple[TokenSnapshot | Refuse, str]:
        """Answer from memory, Redis or PostgreSQL; also returns the tier that answered."""
        found = self.identify_from_memory(credential)
        if found is not None:
            return found, tier_in_memory(found)
        secret_hash = None if credential is None else self._secret_hash(credential)
        if credential is None or secret_hash is None:
            return refuse("token_invalid"), NO_TIER
        try:
            snapshot, tier = await self._lookup.find(secret_hash, credential.purpose)
        except DatabaseUnavailable:
            return refuse("unavailable", retry_after=5), NO_TIER
        if snapshot is None:
            return refuse("token_invalid"), tier
        return token_refusal(snapshot, self._now()) or snapshot, tier

    def _now(self) -> datetime:
        """Return the time, never earlier than before: setting the clock back makes no expired token valid again."""
        self._latest = max(self._latest, clock.now())
        return self._latest

    def _secret_hash(self, credential: Credential) -> bytes | None:
        """Return the hash under which a genuine secret is stored, None for a made-up one."""
        if credential.secret_hash is None and secrets.is_genuine(self._keys, credential.secret, credential.purpose):
            credential.secret_hash = secrets.hash_of(self._keys, credential.secret, credential.purpose)
        return credential.secret_hash


def tier_in_memory(found: TokenSnapshot | Refuse) -> str:
    """Return the tier of an answer that needed no look-up outside this worker."""
    return NO_TIER if isinstance(found, Refuse) and found.snapshot is None else "memory"

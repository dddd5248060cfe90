"""Abort the open connections of tokens that were revoked, released or expired.

After an invalidation the worker reads the token again. If it is not valid any more, or its session was released, all
its connections here are aborted. When its secret was rotated, connections authorised by a browser access cookie are
aborted at once, and those authorised by the previous secret when its overlap ends. Expiry is checked twice a second.
"""

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime

from addon.admission.refusals import refuse, token_refusal
from addon.admission.token_admission import TokenAdmission
from addon.http1.clients.registry import Registry
from addon.http1.decisions import Refuse
from addon.token_cache.database import DatabaseUnavailable, TokenDatabase
from addon.token_cache.memory_tier import MemoryTier
from models import clock
from models.services.gateway.token_lookup import TokenSnapshot

logger = logging.getLogger(__name__)

POLL_INTERVAL_SECONDS = 0.5


class Disconnector:
    """Tracks the tokens with open connections at this worker. Used on the event loop only."""

    def __init__(self, registry: Registry, database: TokenDatabase, memory_tier: MemoryTier) -> None:
        self._registry = registry
        self._memory_tier = memory_tier
        self._database = database
        self._sessions: dict[uuid.UUID, tuple[TokenSnapshot, uuid.UUID | None]] = {}
        # Tokens whose previous secret is still valid.
        self._rotated: dict[uuid.UUID, TokenSnapshot] = {}
        # Tokens whose recheck failed because the database did not answer.
        self._unanswered: set[uuid.UUID] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def track(self, admission: TokenAdmission) -> None:
        """Track an admitted token; recheck it if it may have changed since it was read."""
        token_id = admission.snapshot.token_id
        self._sessions[token_id] = (admission.snapshot, admission.session_id)
        if admission.snapshot.secret_until is not None and token_id not in self._rotated:
            self._rotated[token_id] = replace(admission.snapshot, generation=admission.snapshot.generation + 1)
        if admission.invalidations != self._memory_tier.invalidations:
            self._start_task(self._recheck([token_id]))

    def token_changed(self, token_id: uuid.UUID) -> None:
        """Recheck a token that changed, if it has connections here."""
        if token_id in self._sessions:
            self._start_task(self._recheck([token_id]))

    def all_changed(self) -> None:
        """Recheck every token in use: messages may have been missed."""
        if self._sessions:
            self._start_task(self._recheck(list(self._sessions)))

    async def recheck_all(self) -> None:
        """Recheck every token in use, and return when that is done: no invalidations are received."""
        if self._sessions:
            await self._recheck(list(self._sessions))

    async def watch(self) -> None:
        """Abort expired tokens' connections, retry failed rechecks, and drop unused tokens, until cancelled."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
            if self._unanswered:
                again, self._unanswered = list(self._unanswered), set()
                self._start_task(self._recheck(again))
            moment = clock.now()
            for token_id, (snapshot, _) in list(self._sessions.items()):
                if not self._registry.has_connections(str(token_id)):
                    del self._sessions[token_id]
                elif snapshot.expires_at is not None and snapshot.expires_at <= moment:
                    self._abort_connections(token_id, refuse("token_expired"))
            for snapshot in list(self._rotated.values()):
                if snapshot.previous_until is None or snapshot.previous_until <= moment:
                    self._abort_superseded(snapshot, moment)

    async def _recheck(self, tokens: list[uuid.UUID]) -> None:
        try:
            found = await self._database.find_by_id(tokens)
        except DatabaseUnavailable:
            # Open connections continue for the stale-if-error period too. The recheck is retried here: after a lock or
            # statement timeout the listener is still connected and triggers none.
            self._unanswered.update(token_id for token_id in tokens if token_id in self._sessions)
            return
        moment = clock.now()
        for token_id in tokens:
            used = self._sessions.get(token_id)
            if used is None:
                continue
            snapshot, session_id = found.get(token_id), used[1]
            refusal = refuse("token_invalid") if snapshot is None else token_refusal(snapshot, moment)
            if refusal is None and snapshot is not None and session_id not in {None, snapshot.session_id}:
                refusal = refuse("device_conflict", "The session was released.")
            if refusal is not None:
                self._abort_connections(token_id, refusal)
            elif snapshot is not None:
                self._sessions[token_id] = (snapshot, session_id)
                self._abort_superseded(snapshot, moment)

    def _abort_superseded(self, snapshot: TokenSnapshot, moment: datetime) -> None:
        """Abort connections authorised by a secret that is not valid any more, or by a cookie issued under it."""
        self._rotated.pop(snapshot.token_id, None)
        oldest = snapshot.generation
        if snapshot.previous_until is not None and snapshot.previous_until > moment:
            self._rotated[snapshot.token_id] = snapshot
            oldest -= 1

        def is_superseded(used: object) -> bool:
            if not isinstance(used, TokenSnapshot):
                return False
            return used.generation < (snapshot.generation if used.own_device is not None else oldest)

        self._registry.abort(str(snapshot.token_id), refuse("token_invalid"), is_superseded)

    def _abort_connections(self, token_id: uuid.UUID, refusal: Refuse) -> None:
        self._sessions.pop(token_id, None)
        count = self._registry.abort(str(token_id), refusal)
        logger.info("aborted %d connections of token %s: %s", count, token_id, refusal.code)

    def _start_task(self, work: Coroutine[None, None, None]) -> None:
        # The loop keeps weak references only; the set keeps the task alive until it is done.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

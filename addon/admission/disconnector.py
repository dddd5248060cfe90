"""Abort the open connections of tokens that were revoked, released or expired.

A notice of a change makes the worker read the token again; if it is no longer good, or its session is no longer the
one in use, everything the token has open here is cut. When the token has another secret, what came in by a browser's
cookie is cut, and what came in by the secret before it when that one's time is over. Expiry needs no notice: it is
looked for twice a second.
"""

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime

from addon.admission.refusals import refuse, token_refusal
from addon.admission.token_admission import TokenAdmission
from addon.http1.connection.registry import Registry
from addon.http1.decisions import Refuse
from addon.token_cache.database import DatabaseUnavailable, TokenDatabase
from addon.token_cache.memory_tier import MemoryTier
from models import clock
from models.services.gateway.token_lookup import TokenSnapshot

logger = logging.getLogger(__name__)

POLL_INTERVAL_SECONDS = 0.5


class Disconnector:
    """Watches the tokens that have a connection open at this worker. Only the loop touches it."""

    def __init__(self, registry: Registry, database: TokenDatabase, memory_tier: MemoryTier) -> None:
        self._registry = registry
        self._memory_tier = memory_tier
        self._database = database
        self._sessions: dict[uuid.UUID, tuple[TokenSnapshot, uuid.UUID | None]] = {}
        # Tokens with a secret before their own that still opens them.
        self._rotated: dict[uuid.UUID, TokenSnapshot] = {}
        # Tokens that the database was asked about in vain.
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
        """Look at every token in use again, and return when that is done: no notification will say what changed."""
        if self._sessions:
            await self._recheck(list(self._sessions))

    async def watch(self) -> None:
        """Cut what expires, ask again what had no answer, and forget tokens that nobody uses, until cancelled."""
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
            # The grace of the gate holds for what is under way too. The listener may have noticed nothing of a lock or
            # a statement that took too long, and nobody else would look at these tokens again.
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
        """Cut what came in by a secret that opens the token no more, or by a cookie: those end with the secret."""
        self._rotated.pop(snapshot.token_id, None)
        oldest = snapshot.generation
        if snapshot.previous_until is not None and snapshot.previous_until > moment:
            self._rotated[snapshot.token_id] = snapshot
            oldest -= 1

        def is_over(held: object) -> bool:
            if not isinstance(held, TokenSnapshot):
                return False
            return held.generation < (snapshot.generation if held.own_device is not None else oldest)

        self._registry.abort(str(snapshot.token_id), refuse("token_invalid"), is_over)

    def _abort_connections(self, token_id: uuid.UUID, refusal: Refuse) -> None:
        self._sessions.pop(token_id, None)
        count = self._registry.abort(str(token_id), refusal)
        logger.info("%d connections of token %s were cut: %s", count, token_id, refusal.code)

    def _start_task(self, work: Coroutine[None, None, None]) -> None:
        # The loop keeps weak references only; the set keeps the task alive until it is done.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

"""Pause and resume a token: a pause freezes the remaining time (docs/spec/business-rules.md#pause).

A pause lasts a least time, because a clock that is stopped between any two requests would make an hour last a year:
it cannot be ended before. For the same reason a token has a number of pauses and a time for all of them together;
the pause that uses that time up ends by itself, at that moment, whenever the job comes round to it.
"""

import math
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken, TokenState
from models.audit import AuditAction
from models.config.settings import Settings
from models.config.shop import Pause as PauseRules
from models.services.actor import PLATFORM, Actor
from models.services.audit import log as audit_log
from models.services.errors import DomainError, PauseRefused, PauseTooShort, TokenUnusable
from models.services.gateway import invalidation, outages
from models.services.ledger import transfers
from models.services.tokens import queries as token_queries
from models.token_pauses import TokenPause, is_paused_for_debt
from models.users import User

DAY = 24 * 3600


@dataclass(frozen=True, slots=True)
class PauseOptions:
    """Limits of a pause: its earliest end, its automatic end, and the number of pauses left after it.

    `refused` says why none can begin now; `debt` is what the owner has to repay to end a pause for a debt, in ZNC.
    """

    earliest_end: datetime
    latest_end: datetime
    left: int
    refused: DomainError | None
    debt: Decimal | None


def preview(session: Session, token: AccessToken, settings: Settings) -> PauseOptions:
    """Return the pause options of a token."""
    moment, rules = clock.now(), settings.pause
    taken, for_debt = _past_pauses(session, token)
    is_on = token.is_paused(moment)
    start = token.paused_at if is_on and token.paused_at else moment
    latest = token.paused_until if is_on and token.paused_until else start + _time_left(token, moment, for_debt, rules)
    return PauseOptions(
        earliest_end=min(_earliest_end(start, rules), latest),
        latest_end=latest,
        left=max(0, rules.at_most - taken - (not is_on)),
        refused=_fault(session, token, taken, for_debt, settings),
        debt=transfers.debt_of(session, token.user_id) if is_for_debt(session, token) else None,
    )


def pause(session: Session, owner: User, token_id: uuid.UUID, *, settings: Settings, actor: Actor) -> AccessToken:
    """Pause the owner's running token; every worker refuses it from then on.

    Raises NotFound, TokenUnusable for a token that is not running, PauseRefused.
    """
    token = token_queries.lock_owned(session, owner, token_id)
    moment = token_queries.accounting_time(session, token)
    state = token.state(moment)
    if state is not TokenState.ACTIVE:
        raise TokenUnusable(state)
    taken, for_debt = _past_pauses(session, token)
    fault = _fault(session, token, taken, for_debt, settings)
    if fault is not None:
        raise fault
    if token.paused_at is not None:
        # It reached its limit, but the job has not ended it yet.
        end(session, token, token.paused_at, moment, PLATFORM)
    token.pause_limit_seconds = math.floor(_time_left(token, moment, for_debt, settings.pause).total_seconds())
    token.paused_at = moment
    session.add(TokenPause(token_id=token.id, started_at=moment))
    invalidation.invalidate_token(session, token.id)
    audit_log.record(session, AuditAction.TOKEN_PAUSED, actor, user_id=owner.id, resource=("token", token.id))
    return token


def resume(session: Session, owner: User, token_id: uuid.UUID, *, settings: Settings, actor: Actor) -> AccessToken:
    """Resume the owner's paused token.

    Raises NotFound, TokenUnusable for a token that is not paused, PauseTooShort.
    """
    token = token_queries.lock_owned(session, owner, token_id)
    moment = token_queries.accounting_time(session, token)
    state = token.state(moment)
    if state in token_queries.ENDED or token.paused_at is None or token.paused_until is None:
        raise TokenUnusable(state)
    if is_for_debt(session, token):
        raise PauseRefused("debt")
    earliest = min(_earliest_end(token.paused_at, settings.pause), token.paused_until)
    if moment < earliest:
        raise PauseTooShort(earliest)
    end(session, token, token.paused_at, moment, actor)
    return token


def ended() -> Select[uuid.UUID]:
    """Return the query for tokens whose pauses have reached their limit."""
    over = AccessToken.paused_at.is_not(None) & (AccessToken.paused_until <= clock.now())
    return select(AccessToken.id).where(AccessToken.revoked_at.is_(None), over)


def due(session: Session, *, limit: int = 500) -> list[uuid.UUID]:
    """Return tokens whose pauses have reached their limit, the earliest first."""
    return list(session.scalars(ended().order_by(AccessToken.paused_at).limit(limit)))


def resume_due(session: Session, token_id: uuid.UUID) -> bool:
    """End a pause that has reached its limit, as of that moment; return whether there was one.

    A token locked by another transaction is left for the next run.
    """
    token = session.scalars(
        select(AccessToken)
        .where(AccessToken.id == token_id, AccessToken.paused_at.is_not(None), AccessToken.revoked_at.is_(None))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    moment = clock.now()
    if token is None or token.paused_at is None or token.is_paused(moment):
        return False
    end(session, token, token.paused_at, moment, PLATFORM)
    return True


def is_for_debt(session: Session, token: AccessToken) -> bool:
    """Return whether the pause that is on, if one is, lasts until a debt is repaid."""
    if token.activated_at is not None and token.paused_at is None:
        return False  # an activated token without `paused_at` has no open pause
    return session.scalar(select(AccessToken.id).where(AccessToken.id == token.id, is_paused_for_debt())) is not None


def end(session: Session, token: AccessToken, started_at: datetime, moment: datetime, actor: Actor) -> None:
    """End a pause, at its limit if that has passed. Counted in whole seconds, so that no pause adds time."""
    seconds = token.stopped_seconds(moment) - token.paused_seconds
    held = session.scalars(
        select(TokenPause).where(TokenPause.token_id == token.id, TokenPause.ended_at.is_(None))
    ).one()
    held.ended_at = started_at + timedelta(seconds=seconds)
    token.paused_at, token.pause_limit_seconds = None, 0
    if token.activated_at is not None:
        token.paused_seconds += seconds
    invalidation.invalidate_token(session, token.id)
    resource = ("token", token.id)
    audit_log.record(
        session, AuditAction.TOKEN_RESUMED, actor, user_id=token.user_id, resource=resource, seconds=seconds
    )


def _fault(session: Session, token: AccessToken, taken: int, for_debt: int, settings: Settings) -> PauseRefused | None:
    rules = settings.pause
    if outages.current_outage(session, settings.upstream.probe_gap) is not None:
        return PauseRefused("outage")
    if taken >= rules.at_most:
        return PauseRefused("too_many")
    if _time_left(token, clock.now(), for_debt, rules) < timedelta(minutes=rules.at_least_minutes):
        return PauseRefused("used_up")
    return None


def _earliest_end(start: datetime, rules: PauseRules) -> datetime:
    return start + timedelta(minutes=rules.at_least_minutes)


def _time_left(token: AccessToken, moment: datetime, for_debt: int, rules: PauseRules) -> timedelta:
    """Return how long the owner may still pause the token, from `moment` on; `for_debt` seconds do not count."""
    return timedelta(seconds=max(0, rules.in_all_days * DAY + for_debt - token.stopped_seconds(moment)))


def _past_pauses(session: Session, token: AccessToken) -> tuple[int, int]:
    """Return how many pauses the owner has used, and the seconds of ended pauses for debts, in one statement."""
    seconds = func.sum(func.extract("epoch", TokenPause.ended_at - TokenPause.started_at))
    query = select(func.count().filter(~TokenPause.for_debt), seconds.filter(TokenPause.for_debt))
    taken, for_debt = session.execute(query.where(TokenPause.token_id == token.id)).one()
    return taken, int(for_debt or 0)

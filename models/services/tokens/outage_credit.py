"""Outage credit: running time that falls into an outage is given back once (docs/spec/business-rules.md#outage).

A token's time is stopped while the upstream is down. A token that expired during an outage gets the lost time from the
outage's end on: until then it could not be used. A pause is not running time, so it is not credited. Outages do not
overlap; should two of them ever, the shared minutes belong to the one that was opened first.
"""

import math
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Select, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from models import clock
from models.access_tokens import AccessToken
from models.audit import AuditAction
from models.config.settings import Settings
from models.outage_credits import OutageCredit
from models.outages import Outage
from models.services.actor import PLATFORM
from models.services.audit import log as audit_log
from models.services.gateway import invalidation, outages
from models.services.gateway.outages import Period
from models.services.notifications import outbox
from models.services.pagination import Page, fetch_page
from models.token_events import TokenEvent, TokenEventKind
from models.token_pauses import TokenPause
from models.users import User


def pending(session: Session, token: AccessToken, moment: datetime, settings: Settings) -> int:
    """Return the seconds that outages not yet credited owe a token, as if an open one ended at `moment`."""
    if token.activated_at is None or token.revoked_at is not None:
        return 0
    has_credit = exists().where(OutageCredit.outage_id == Outage.id, OutageCredit.token_id == token.id)
    waiting = session.scalars(
        select(Outage).where(Outage.credited_at.is_(None), Outage.opened_at < moment, ~has_credit)
    ).all()
    if not waiting:
        return 0
    pauses = _pauses(session, [token.id])[token.id]
    gap = settings.upstream.probe_gap
    periods = [_period(session, outage, outages.end_of(outage, moment, gap)) for outage in waiting]
    return sum(
        _lost(token, pauses, period, settings, renewed=_renewed(session, [token.id], period).get(token.id, 0))
        for period in periods
    )


def uncredited() -> Select[uuid.UUID]:
    """Return the query for closed outages that are not fully credited."""
    return select(Outage.id).where(Outage.closed_at.is_not(None), Outage.credited_at.is_(None))


def due(session: Session) -> list[uuid.UUID]:
    """Return closed outages that are not fully credited, oldest first."""
    return list(session.scalars(uncredited().order_by(Outage.opened_at)))


def credit(session: Session, outage_id: uuid.UUID, settings: Settings, *, limit: int) -> int:
    """Credit up to `limit` tokens for a closed outage and return the number processed; 0 when it is complete.

    The outage's row lock lets one job work on it at a time. A token locked by another transaction is left for the next
    run; the outage is complete when none is left. Outages are credited in order, as a credit may extend a token into
    the next one.
    """
    before = aliased(Outage)
    waits = exists().where(before.credited_at.is_(None), before.opened_at < Outage.opened_at)
    outage = session.scalars(
        select(Outage)
        .where(Outage.id == outage_id, Outage.closed_at.is_not(None), Outage.credited_at.is_(None), ~waits)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if outage is None or outage.closed_at is None:
        return 0
    period = _period(session, outage, outage.closed_at)
    affected = _affected(outage, period)
    found: Sequence[AccessToken] = []
    if _is_worth_it(period, settings):
        found = session.scalars(
            affected.order_by(AccessToken.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        ).all()
    if found:
        _credit_tokens(session, outage, found, period, settings)
    elif not _is_worth_it(period, settings) or not session.scalar(select(affected.exists())):
        outage.credited_at = clock.now()
    session.flush()
    return len(found)


def list_credits(session: Session, *, limit: int, offset: int) -> Page[Outage]:
    """Return a page of outages with their credits, newest first."""
    return fetch_page(session, select(Outage), order=(Outage.opened_at.desc(), Outage.id), limit=limit, offset=offset)


def _credit_tokens(
    session: Session, outage: Outage, found: Sequence[AccessToken], period: Period, settings: Settings
) -> None:
    pauses = _pauses(session, [token.id for token in found])
    renewed = _renewed(session, [token.id for token in found], period)
    owed = {
        token.id: _lost(token, pauses[token.id], period, settings, renewed=renewed.get(token.id, 0)) for token in found
    }
    rows = [{"id": uuid.uuid4(), "outage_id": outage.id, "token_id": key, "seconds": n} for key, n in owed.items()]
    # The unique index decides which tokens were credited already.
    booked = set(
        session.scalars(
            insert(OutageCredit)
            .values(rows)
            .on_conflict_do_nothing(index_elements=["token_id", "outage_id"])
            .returning(OutageCredit.token_id)
        )
    )
    credited = [token for token in found if token.id in booked and owed[token.id] > 0]
    outage.credited_tokens += len(credited)
    outage.credited_seconds += sum(owed[token.id] for token in credited)
    for token in credited:
        token.credited_seconds += owed[token.id]
        audit_log.record(
            session,
            AuditAction.TOKEN_CREDITED,
            PLATFORM,
            user_id=token.user_id,
            resource=("token", token.id),
            outage=str(outage.id),
            seconds=owed[token.id],
        )
    _notify_owners(session, outage, period, {token.user_id for token in credited})
    if credited:
        invalidation.invalidate_tokens(session, [token.id for token in credited])


def _notify_owners(session: Session, outage: Outage, period: Period, owners: set[uuid.UUID]) -> None:
    """Notify each owner of credited tokens once, over all batches."""
    for owner in session.scalars(select(User).where(User.id.in_(owners)).order_by(User.id)):
        outbox.enqueue_mail(
            session,
            "outage_credit",
            owner,
            dedup_key=f"outage_credit:{outage.id}:{owner.id}",
            username=owner.username,
            began=period.start.isoformat(),
            ended=period.end.isoformat(),
        )


def _affected(outage: Outage, period: Period) -> Select[AccessToken]:
    """Return the tokens that ran, or may have run, in the period and are not yet processed."""
    has_credit = exists().where(OutageCredit.outage_id == outage.id, OutageCredit.token_id == AccessToken.id)
    return select(AccessToken).where(
        AccessToken.activated_at < period.end,
        AccessToken.revoked_at.is_(None),
        AccessToken.ends_at > period.start,
        ~has_credit,
    )


def _period(session: Session, outage: Outage, end: datetime) -> Period:
    """Return the outage's own period: without the part of any earlier outage."""
    earlier = (Outage.opened_at < outage.opened_at) | ((Outage.opened_at == outage.opened_at) & (Outage.id < outage.id))
    taken = session.scalar(select(func.max(Outage.closed_at)).where(earlier))
    start = max(outage.opened_at, taken) if taken is not None else outage.opened_at
    return Period(start, max(start, end))


def _lost(token: AccessToken, pauses: Sequence[TokenPause], period: Period, settings: Settings, *, renewed: int) -> int:
    """Return the whole seconds of a period in which the token would have run, limited by the settings.

    Time renewed within the period comes on top of the limit: it was paid for while the upstream was down.
    """
    if token.activated_at is None or not _is_worth_it(period, settings):
        return 0
    start = max(period.start, token.activated_at)
    if token.ends_at is not None and token.ends_at <= start:
        return 0
    lasted = max(timedelta(0), period.end - start)
    for held in pauses:
        ended_at = held.ended_at or token.paused_until or period.end
        lasted -= max(timedelta(0), min(ended_at, period.end) - max(held.started_at, start))
    return min(math.floor(lasted.total_seconds()), settings.outage_credit.at_most_hours * 3600 + renewed)


def _renewed(session: Session, token_ids: Sequence[uuid.UUID], period: Period) -> dict[uuid.UUID, int]:
    """Return the seconds that renewals added to tokens in a period."""
    query = select(TokenEvent.token_id, func.sum(TokenEvent.seconds)).where(
        TokenEvent.token_id.in_(token_ids),
        TokenEvent.kind == TokenEventKind.RENEWED,
        TokenEvent.happened_at.between(period.start, period.end),
    )
    return {token_id: int(seconds) for token_id, seconds in session.execute(query.group_by(TokenEvent.token_id))}


def _is_worth_it(period: Period, settings: Settings) -> bool:
    return period.end - period.start >= timedelta(seconds=settings.outage_credit.at_least_seconds)


def _pauses(session: Session, token_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[TokenPause]]:
    found: dict[uuid.UUID, list[TokenPause]] = defaultdict(list)
    for held in session.scalars(select(TokenPause).where(TokenPause.token_id.in_(token_ids))):
        found[held.token_id].append(held)
    return found

"""Rename a token and rotate its secret: the new one is shown once, the old one works for a grace period."""

import uuid
from datetime import timedelta

from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken
from models.audit import AuditAction
from models.config.settings import Settings
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.crypto import secrets
from models.services.errors import AlreadyRotated
from models.services.gateway import invalidation
from models.services.tokens import browser_access
from models.services.tokens import queries as token_queries
from models.services.tokens.purchase import NAME_LENGTH
from models.token_events import TokenEvent, TokenEventKind
from models.users import User


def rename(session: Session, owner: User, token_id: uuid.UUID, *, name: str, actor: Actor) -> AccessToken:
    """Rename the owner's token, also an ended one; the name may be empty.

    Raises NotFound and InvalidInput. Admission does not use names, so no cache is invalidated.
    """
    token = token_queries.lock_owned(session, owner, token_id)
    text_validation.one_line(name, field="name", at_most=NAME_LENGTH)
    former, token.name = token.name, name.strip()
    if former != token.name:
        resource, names = ("token", token.id), {"before": former, "after": token.name}
        audit_log.record(session, AuditAction.TOKEN_RENAMED, actor, user_id=owner.id, resource=resource, **names)
    return token


def rotate(
    session: Session,
    owner: User,
    token_id: uuid.UUID,
    *,
    settings: Settings,
    actor: Actor,
    seen: int | None = None,
    at_once: bool = False,
) -> tuple[AccessToken, str]:
    """Rotate a token's secret and return the new one with the token; it is shown once.

    The previous secret works for `rotate_grace_seconds`, or not at all with `at_once`; the one before it ends. Tickets
    and browser cookies end at once. `seen` is the generation that the owner saw: a form sent twice rotates once, and
    then raises AlreadyRotated. Raises NotFound and TokenEnded as well.
    """
    token = token_queries.lock_owned(session, owner, token_id)
    moment = clock.now()
    token_queries.require_not_ended(token.state(moment))
    if seen is not None and seen != token.generation:
        raise AlreadyRotated
    grace = 0 if at_once else settings.tokens.rotate_grace_seconds
    ended = [former for former in (token.secret_hash, token.previous_hash) if former is not None]
    secret = secrets.new_secret(settings.tokens)
    token.previous_hash = token.secret_hash if grace else None
    token.previous_until = moment + timedelta(seconds=grace) if grace else None
    token.secret_hash = secrets.hash_of(settings.tokens, secret)
    token.prefix = secret[: secrets.PREFIX_LENGTH]
    token.generation += 1
    session.add(TokenEvent(token_id=token.id, kind=TokenEventKind.ROTATED, happened_at=moment))
    browser_access.end_of_token(session, token.id, ended=ended)
    resource = ("token", token.id)
    audit_log.record(
        session, AuditAction.TOKEN_ROTATED, actor, user_id=owner.id, resource=resource, grace_seconds=grace
    )
    return token, secret


def end_previous(session: Session, owner: User, token_id: uuid.UUID, *, actor: Actor) -> bool:
    """End the previous secret at once, for instance because it leaked; return whether it was still valid.

    Raises NotFound.
    """
    token = token_queries.lock_owned(session, owner, token_id)
    ended = token.previous_hash
    if ended is None or not token.has_previous(clock.now()):
        return False
    token.previous_hash = token.previous_until = None
    invalidation.invalidate_token(session, token.id, ended=[ended])
    resource = ("token", token.id)
    audit_log.record(session, AuditAction.TOKEN_SECRET_ENDED, actor, user_id=owner.id, resource=resource)
    return True

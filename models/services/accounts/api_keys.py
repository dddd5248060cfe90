"""Personal API keys: create, look up, revoke."""

import uuid
from datetime import timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session, contains_eager

from models import clock
from models.api_keys import ApiKey, KeyScope
from models.audit import AuditAction
from models.config.settings import Settings
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.crypto import secrets
from models.services.crypto.secrets import Purpose
from models.services.errors import AlreadyCreated, InvalidInput, NotFound
from models.services.pagination import Page, fetch_page
from models.users import User

# The prefix by which secret scanners recognise a leaked key.
PREFIX = "zk_"
NAME_LENGTH = 50
AT_MOST = 20
LONGEST_DAYS = 366
# The last use of a key is written at most this often.
TOUCH_EVERY = timedelta(minutes=1)


def create(
    session: Session,
    user: User,
    *,
    name: str,
    scope: KeyScope,
    days: int | None,
    settings: Settings,
    actor: Actor,
    key_id: uuid.UUID | None = None,
) -> tuple[ApiKey, str]:
    """Create a key and return it with its secret, which is shown once; without `days` it never expires.

    A form that carries `key_id` creates one key: sent again it raises AlreadyCreated. Raises InvalidInput for a bad
    name, an admin scope for a user who is no admin, too many keys, or too many days.
    """
    name = text_validation.one_line(name, field="name", at_least=1, at_most=NAME_LENGTH)
    if scope is KeyScope.ADMIN and not user.is_superuser:
        raise InvalidInput("scope", "api_key_scope_not_allowed")
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        raise InvalidInput("days", "api_key_lifetime_out_of_range")
    # The user's row is locked, so that concurrent requests cannot exceed the limit.
    session.execute(select(User.id).where(User.id == user.id).with_for_update(key_share=True))
    if key_id is not None and session.get(ApiKey, key_id) is not None:
        raise AlreadyCreated
    query = select(func.count()).where(ApiKey.user_id == user.id, ApiKey.ended_at.is_(None))
    if (session.scalar(query) or 0) >= AT_MOST:
        raise InvalidInput("name", "api_key_limit_reached")
    secret = secrets.new_secret(settings.tokens, Purpose.API_KEY)
    moment = clock.now()
    key = ApiKey(
        id=key_id or uuid.uuid4(),
        user_id=user.id,
        name=name,
        scope=scope,
        prefix=secret[: secrets.PREFIX_LENGTH],
        secret_hash=secrets.hash_of(settings.tokens, secret, Purpose.API_KEY),
        created_at=moment,
        expires_at=None if days is None else moment + timedelta(days=days),
    )
    session.add(key)
    session.flush()
    resource = ("api_key", key.id)
    facts = {"name": name, "scope": scope, "days": days}
    audit_log.record(session, AuditAction.API_KEY_MADE, actor, user_id=user.id, resource=resource, **facts)
    return key, f"{PREFIX}{secret}"


def find_active(session: Session, shown: str, settings: Settings) -> ApiKey | None:
    """Return the active key of a secret, with its user; a secret with a wrong checksum is rejected without a query.

    The caller checks whether the user is active.
    """
    secret = shown.removeprefix(PREFIX)
    if secret == shown or not secrets.is_genuine(settings.tokens, secret, Purpose.API_KEY):
        return None
    secret_hash = secrets.hash_of(settings.tokens, secret, Purpose.API_KEY)
    query = select(ApiKey).join(ApiKey.user).options(contains_eager(ApiKey.user))
    key = session.scalars(query.where(ApiKey.secret_hash == secret_hash)).one_or_none()
    return key if key is not None and key.is_open(clock.now()) else None


def is_stale(key: ApiKey) -> bool:
    """Return whether the last use of a key should be written again."""
    return key.last_used_at is None or clock.now() - key.last_used_at >= TOUCH_EVERY


def touch(session: Session, key: ApiKey) -> None:
    """Store the time of a key's last use; of concurrent requests only one writes."""
    moment = clock.now()
    is_due = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= moment - TOUCH_EVERY)
    session.execute(update(ApiKey).where(ApiKey.id == key.id, is_due).values(last_used_at=moment))


def revoke(session: Session, user: User, key_id: uuid.UUID, *, actor: Actor) -> None:
    """Revoke one of the user's keys; a second call changes nothing. Raises NotFound for another user's key."""
    own(session, user, key_id)
    ended = update(ApiKey).where(ApiKey.id == key_id, ApiKey.ended_at.is_(None)).values(ended_at=clock.now())
    if session.scalar(ended.returning(ApiKey.id)) is not None:
        audit_log.record(session, AuditAction.API_KEY_ENDED, actor, user_id=user.id, resource=("api_key", key_id))


def own(session: Session, user: User, key_id: uuid.UUID) -> ApiKey:
    """Return the user's key. Raises NotFound, also for another user's key."""
    key = session.get(ApiKey, key_id)
    if key is None or key.user_id != user.id:
        raise NotFound("api_key")
    return key


def of_user(session: Session, user_id: uuid.UUID, *, limit: int, offset: int) -> Page[ApiKey]:
    """Return a page of a user's keys, newest first, revoked ones included."""
    query = select(ApiKey).where(ApiKey.user_id == user_id)
    return fetch_page(session, query, order=(ApiKey.created_at.desc(), ApiKey.id), limit=limit, offset=offset)

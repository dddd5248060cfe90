"""Settings that can be changed at run time: prices, limits, device policy and maintenance mode.

`effective_settings` is the one way to read it. Portal and jobs cache its result for a second (`CachedSettings`); the
proxy workers read it when an invalidation message arrives. A change is validated by the types that read config.toml.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, joinedload

from models.audit import AuditAction
from models.config.server import Section
from models.config.settings import Settings
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import InvalidInput, NotFound, SettingChanged
from models.services.gateway.invalidation import CHANNEL
from models.services.pagination import ListQuery, Page
from models.setting_changes import SettingChange

logger = logging.getLogger(__name__)

CHANGEABLE = (
    "prices.znc",
    "prices.rub_per_znc",
    "refund.used_time_rate",
    "refund.bundle_rate",
    "renewal.in_outage",
    "debt.pause_tokens",
    "limits.auth_per_hour",
    "limits.auth_per_address",
    "limits.registrations_per_hour",
    "limits.api_per_minute",
    "limits.proxy_per_minute",
    "limits.proxy_at_once",
    "limits.failures_per_minute",
    "limits.topup_max_znc",
    "sessions.device_policy",
    "maintenance.on",
    "maintenance.retry_after_seconds",
    "maintenance.words_en",
    "maintenance.words_ru",
)
KEEP_SECONDS = 1.0
# Serialises changes, so that `seen` is compared with the latest one.
_LOCK = 7_401_993
_CODES = {
    "int_parsing": "setting_not_whole",
    "int_from_float": "setting_not_whole",
    "greater_than": "setting_not_positive",
    "less_than_equal": "setting_too_large",
    "string_too_long": "setting_text_too_long",
    "too_short": "setting_durations_empty",
    "decimal_parsing": "setting_amount_malformed",
    "decimal_max_places": "setting_amount_malformed",
    "decimal_max_digits": "setting_too_large",
    "decimal_whole_digits": "setting_too_large",
    "finite_number": "setting_amount_malformed",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A changeable setting: its effective value, the one in config.toml, and the overriding change."""

    key: str
    value: Any
    configured: Any
    change: SettingChange | None

    @property
    def seen(self) -> int:
        """The id of the state a reader saw, so that a change does not silently undo another."""
        return self.change.id if self.change else 0


def effective_settings(session: Session, settings: Settings) -> Settings:
    """Return the settings with all run-time overrides.

    An override that the present types reject, for instance from an older release, is ignored and logged.
    """
    newest = select(SettingChange.key, SettingChange.value).ext(distinct_on(SettingChange.key))
    made: dict[str, Section] = {}
    for key, value in session.execute(newest.order_by(SettingChange.key, SettingChange.id.desc())):
        if key not in CHANGEABLE or value is None:
            continue
        name, _, field = key.partition(".")
        section: Section = made.get(name) or getattr(settings, name)
        try:
            made[name] = _with(section, field, value)
        except ValidationError:
            logger.error("setting %s: the run-time value is invalid and ignored", key)
    return settings.model_copy(update=made) if made else settings


def list_settings(session: Session, settings: Settings) -> list[Setting]:
    """Return every changeable setting, in the order of `CHANGEABLE`; `settings` are those of config.toml."""
    now = effective_settings(session, settings)
    query = select(SettingChange).options(joinedload(SettingChange.actor)).ext(distinct_on(SettingChange.key))
    rows = session.scalars(query.order_by(SettingChange.key, SettingChange.id.desc()))
    newest = {change.key: change for change in rows}
    return [Setting(key, _value(now, key), _value(settings, key), newest.get(key)) for key in CHANGEABLE]


def setting(session: Session, settings: Settings, key: str) -> Setting:
    """Return one changeable setting. Raises NotFound."""
    if key not in CHANGEABLE:
        raise NotFound("setting")
    return next(each for each in list_settings(session, settings) if each.key == key)


def change(
    session: Session, settings: Settings, key: str, *, value: Any, reason: str, seen: int, actor: Actor
) -> Setting:
    """Override a setting; None restores the value of config.toml. `settings` are those of config.toml.

    Raises NotFound, InvalidInput for `value` or `reason`, and SettingChanged when the newest change is not `seen`.
    """
    reason = text_validation.one_line(reason, field="reason", at_least=3, at_most=200)
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    before = setting(session, settings, key)
    if before.seen != seen:
        raise SettingChanged
    kept = None if value is None else _checked(settings, key, value)
    row = SettingChange(key=key, value=kept, actor_id=actor.user_id, reason=reason)
    session.add(row)
    session.flush()
    invalidate(session)
    after = setting(session, settings, key)
    facts = {"key": key, "before": as_json(before.value), "after": as_json(after.value), "reason": reason}
    resource = ("setting", None)
    audit_log.record(session, AuditAction.SETTING_CHANGED, actor, user_id=actor.user_id, resource=resource, **facts)
    return after


def undo(session: Session, settings: Settings, change_id: int, *, reason: str, actor: Actor) -> Setting:
    """Restore the value before the newest change of a setting.

    Raises NotFound, InvalidInput for `reason`, and SettingChanged when there is a newer change.
    """
    row = session.get(SettingChange, change_id)
    if row is None:
        raise NotFound("setting_change")
    before = session.scalars(
        select(SettingChange)
        .where(SettingChange.key == row.key, SettingChange.id < row.id)
        .order_by(SettingChange.id.desc())
        .limit(1)
    ).one_or_none()
    value = before.value if before else None
    return change(session, settings, row.key, value=value, reason=reason, seen=row.id, actor=actor)


def history(session: Session, *, limit: int, offset: int, key: str | None = None) -> Page[SettingChange]:
    """Return a page of all changes, or of one setting's, newest first."""
    return changes(key).page(session, limit=limit, offset=offset)


def changes(key: str | None = None) -> ListQuery[SettingChange]:
    """Return the list of all changes, or of one setting's, newest first."""
    query = select(SettingChange).options(joinedload(SettingChange.actor))
    if key is not None:
        query = query.where(SettingChange.key == key)
    return ListQuery(query, (SettingChange.id.desc(),))


def invalidate(session: Session) -> None:
    """Notify every proxy worker at the commit to reload its settings."""
    session.execute(select(func.pg_notify(CHANNEL, json.dumps({"runtime": True}))))


def as_json(value: Any) -> Any:
    """Return a setting's value as stored: amounts as text, also the keys of mappings."""
    return {str(key): str(each) for key, each in value.items()} if isinstance(value, dict) else _plain(value)


class CachedSettings:
    """One process's effective settings, reloaded when older than a second.

    While the database is down, the last `known` settings stay in force.
    """

    def __init__(self, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.frozen = settings
        self.known = settings
        self._good_until = float("-inf")
        self._monotonic = monotonic
        self._reading = threading.Lock()

    def get(self, session: Session) -> Settings:
        """Return the effective settings, at most one second old.

        Raises SQLAlchemyError, at most once a second; the caller rolls back and uses `known`.
        """
        # While another thread reloads, the old settings are returned without waiting.
        if self._monotonic() >= self._good_until and self._reading.acquire(blocking=False):
            try:
                self.known = self.fresh(session)
            finally:
                self._good_until = self._monotonic() + KEEP_SECONDS
                self._reading.release()
        return self.known

    def fresh(self, session: Session) -> Settings:
        """Return the settings as this transaction sees them."""
        return effective_settings(session, self.frozen)

    def forget(self) -> None:
        """Reload at the next call."""
        self._good_until = float("-inf")


def _value(settings: Settings, key: str) -> Any:
    section, _, field = key.partition(".")
    return getattr(getattr(settings, section), field)


def _checked(settings: Settings, key: str, value: Any) -> Any:
    """Return the value as stored, validated by config.toml's own types."""
    name, _, field = key.partition(".")
    try:
        section = _with(getattr(settings, name), field, value)
    except ValidationError as error:
        kind = error.errors()[0]["type"]
        raise InvalidInput("value", _CODES.get(kind, "setting_invalid")) from None
    return section.model_dump(mode="json")[field]


def _with[S: Section](section: S, field: str, value: Any) -> S:
    return type(section).model_validate({**section.model_dump(), field: value})


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | str) or value is None else str(value)

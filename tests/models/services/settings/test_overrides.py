"""Run-time settings: validated as config.toml is, with history and undo."""

import json
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from models.audit import AuditAction, AuditEntry
from models.config.settings import Settings
from models.services.actor import Actor
from models.services.errors import InvalidInput, NotFound, PriceChanged, SettingChanged
from models.services.settings import overrides
from models.services.tokens import bundles, extension
from models.services.tokens import purchase as token_purchase
from models.setting_changes import SettingChange
from models.users import User
from tests.factories import balance, buy, some_bundle


def change(session: Session, settings: Settings, key: str, value: Any, *, by: User | None = None) -> overrides.Setting:
    seen = overrides.setting(session, settings, key).seen
    actor = Actor(by.id if by else None)
    return overrides.change(session, settings, key, value=value, reason="for a test", seen=seen, actor=actor)


def test_without_changes_the_file_applies(session: Session, settings: Settings) -> None:
    assert overrides.effective_settings(session, settings) is settings
    assert [each.key for each in overrides.list_settings(session, settings)] == list(overrides.CHANGEABLE)


def test_the_newest_change_applies_and_all_of_them_are_kept(session: Session, settings: Settings, dana: User) -> None:
    change(session, settings, "limits.proxy_per_minute", "5")
    change(session, settings, "limits.proxy_per_minute", "7", by=dana)
    change(session, settings, "prices.znc", {"1": "2", "24": "19.50"})
    now = overrides.effective_settings(session, settings)
    assert now.limits.proxy_per_minute == 7
    assert now.limits.proxy_at_once == settings.limits.proxy_at_once
    assert {hours: str(price) for hours, price in now.prices.znc.items()} == {1: "2", 24: "19.50"}
    page = overrides.history(session, key="limits.proxy_per_minute", limit=10, offset=0)
    assert [(row.value, row.actor_id) for row in page.items] == [(7, dana.id), (5, None)]
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == AuditAction.SETTING_CHANGED)).all()[1]
    assert entry.details == {"key": "limits.proxy_per_minute", "before": 5, "after": 7, "reason": "for a test"}


def test_undo_restores_the_previous_value(session: Session, settings: Settings) -> None:
    first = change(session, settings, "sessions.device_policy", "required")
    second = change(session, settings, "sessions.device_policy", "off")
    assert first.change is not None
    assert second.change is not None
    with pytest.raises(SettingChanged):
        overrides.undo(session, settings, first.change.id, reason="too late", actor=Actor())
    undone = overrides.undo(session, settings, second.change.id, reason="a mistake", actor=Actor())
    assert undone.value == "required"
    back = change(session, settings, "sessions.device_policy", None)
    assert (back.value, back.change and back.change.value) == (settings.sessions.device_policy, None)


def test_a_change_does_not_undo_another_one_unseen(session: Session, settings: Settings) -> None:
    facts = {"reason": "at the same time", "seen": 0, "actor": Actor()}
    overrides.change(session, settings, "maintenance.on", value="true", **facts)
    with pytest.raises(SettingChanged):
        overrides.change(session, settings, "maintenance.on", value="false", **facts)
    assert overrides.effective_settings(session, settings).maintenance.on


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limits.proxy_per_minute", "0"),
        ("limits.proxy_per_minute", "1.5"),
        ("limits.proxy_per_minute", ""),
        ("limits.topup_max_znc", "NaN"),
        ("limits.topup_max_znc", "0.001"),
        ("prices.znc", {}),
        ("prices.znc", {"24": "-1"}),
        ("prices.znc", {"0": "1"}),
        ("prices.rub_per_znc", "1e30"),
        ("sessions.device_policy", "sometimes"),
        ("maintenance.on", "perhaps"),
        ("maintenance.words_en", "x" * 301),
        ("maintenance.retry_after_seconds", "86401"),
    ],
)
def test_values_that_are_invalid_in_the_file_are_refused(
    session: Session, settings: Settings, key: str, value: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        change(session, settings, key, value)
    assert caught.value.field == "value"
    assert session.scalars(select(SettingChange)).all() == []


@pytest.mark.parametrize("key", ["database.url", "tokens.hash_key", "prices", "prices.nothing", "", "x.y.z"])
def test_other_settings_cannot_be_changed(session: Session, settings: Settings, key: str) -> None:
    with pytest.raises(NotFound):
        overrides.change(session, settings, key, value="1", reason="a try", seen=0, actor=Actor())


def test_an_invalid_value_of_an_older_release_is_ignored(session: Session, settings: Settings) -> None:
    session.add(SettingChange(key="sessions.device_policy", value="by moonlight", reason="old"))
    session.add(SettingChange(key="portal.port", value=1, reason="not changeable"))
    session.add(SettingChange(key="limits.proxy_at_once", value=3, reason="good"))
    now = overrides.effective_settings(session, settings)
    assert now.sessions.device_policy == settings.sessions.device_policy
    assert now.portal.port == settings.portal.port
    assert now.limits.proxy_at_once == 3


def test_a_process_reloads_once_a_second_and_works_without_the_database(session: Session, settings: Settings) -> None:
    moment = 100.0
    cached = overrides.CachedSettings(settings, lambda: moment)
    change(session, settings, "limits.proxy_at_once", "3")
    session.flush()
    asked: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda *call: asked.append(call[2]))
    assert [cached.get(session).limits.proxy_at_once for _ in range(3)] == [3, 3, 3]
    assert len(asked) == 1
    moment += 1.0

    class Down(Session):
        def execute(self, *_args: Any, **_more: Any) -> Any:
            raise OperationalError("", {}, Exception())

    with pytest.raises(OperationalError):
        cached.get(Down())
    assert cached.known.limits.proxy_at_once == cached.get(Down()).limits.proxy_at_once == 3


def test_nobody_pays_another_price_than_the_one_shown(
    session: Session, settings: Settings, alice: User, dana: User
) -> None:
    token = buy(session, alice, settings, hours=1)
    bundle = some_bundle(session)
    change(session, settings, "prices.znc", {"1": "2", "24": "20", "168": "100"})
    now, before, who = overrides.effective_settings(session, settings), settings.prices.znc, Actor(alice.id)
    left = balance(session, alice)
    key = token.id
    with pytest.raises(PriceChanged) as caught:
        token_purchase.purchase(
            session, alice, hours=1, scope="full", name="", settings=now, actor=who, shown=before[1]
        )
    assert caught.value.price == 2
    with pytest.raises(PriceChanged):
        extension.extend(session, alice, token.id, hours=1, key=key, settings=now, actor=who, shown=before[1])
    with pytest.raises(PriceChanged):
        old = bundles.price_of(bundle, settings).total
        bundles.purchase(session, alice, bundle.id, purchase_id=key, settings=now, actor=who, shown=old)
    assert balance(session, alice) == left
    assert json.dumps(overrides.as_json(now.prices.znc)) == '{"1": "2", "24": "20", "168": "100"}'

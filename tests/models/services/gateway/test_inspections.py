"""Inspections: who may have what shown, for how long, and that it is written down."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.inspections import Inspection, InspectionTarget
from models.services.actor import Actor
from models.services.errors import InvalidInput, NotFound
from models.services.gateway import inspections
from models.services.gateway.inspections import ActiveInspection
from models.users import User
from tests.conftest import Clock
from tests.factories import actions, buy


def begun(
    session: Session, dana: User, settings: Settings, target: InspectionTarget, name: str = "", **more: Any
) -> Inspection:
    facts: dict[str, Any] = {"minutes": 15, "reason": "ticket 17", "rules": settings.inspection, **more}
    return inspections.start(session, target=target, name=name, actor=Actor(dana.id), **facts)


def test_each_target_is_found_by_prefix_id_address_or_name(
    session: Session, alice: User, dana: User, settings: Settings, time: Clock
) -> None:
    token = buy(session, alice, settings)
    for name in (token.prefix, f"{token.prefix}…", str(token.id)):
        assert begun(session, dana, settings, InspectionTarget.TOKEN, name).token_id == token.id
    for name in ("alice@example.test", "ALICE", str(alice.id)):
        assert begun(session, dana, settings, InspectionTarget.USER, name).user_id == alice.id
    begun(session, dana, settings, InspectionTarget.PATH, "/certificates/")
    begun(session, dana, settings, InspectionTarget.EVERYTHING, "whatever")
    ends = time() + timedelta(minutes=15)
    found = inspections.load_active(session)
    assert ActiveInspection(InspectionTarget.PATH, b"/certificates/", ends) in found
    assert ActiveInspection(InspectionTarget.EVERYTHING, None, ends) in found
    assert {each.subject for each in found if isinstance(each.subject, uuid.UUID)} == {token.id, alice.id}
    assert actions(session, alice).count(AuditAction.INSPECTION_STARTED) == 6


@pytest.mark.parametrize(
    ("target", "name", "more"),
    [
        (InspectionTarget.PATH, "certificates", {}),
        (InspectionTarget.PATH, "/a/../b", {}),
        (InspectionTarget.PATH, "/é", {}),
        (InspectionTarget.TOKEN, "nothing1", {}),
        (InspectionTarget.TOKEN, "", {}),
        (InspectionTarget.USER, "nobody", {}),
        (InspectionTarget.EVERYTHING, "", {"minutes": 0}),
        (InspectionTarget.EVERYTHING, "", {"minutes": 241}),
        (InspectionTarget.EVERYTHING, "", {"reason": " "}),
    ],
)
def test_invalid_inspections_are_refused(
    *, session: Session, dana: User, settings: Settings, target: InspectionTarget, name: str, more: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        begun(session, dana, settings, target, name, **more)
    assert refused.value.field == next(iter(more), "name")


def test_an_inspection_ends_automatically_or_by_an_admin_once(
    session: Session, dana: User, settings: Settings, time: Clock
) -> None:
    first = begun(session, dana, settings, InspectionTarget.EVERYTHING)
    second = begun(session, dana, settings, InspectionTarget.EVERYTHING, minutes=60)
    time.advance(minutes=15)
    assert [each.ends_at for each in inspections.load_active(session)] == [second.ends_at]
    for _ in range(2):
        inspections.end(session, second.id, actor=Actor(dana.id))
    inspections.end(session, first.id, actor=Actor(dana.id))
    assert inspections.load_active(session) == []
    assert (first.ended_at, second.ended_by_id) == (None, dana.id)
    assert actions(session).count(AuditAction.INSPECTION_ENDED) == 1
    with pytest.raises(NotFound):
        inspections.end(session, uuid.uuid4(), actor=Actor(dana.id))


def test_the_number_of_active_inspections_is_limited(
    session: Session, dana: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspections, "MAX_ACTIVE", 2)
    begun(session, dana, settings, InspectionTarget.EVERYTHING)
    ended = begun(session, dana, settings, InspectionTarget.EVERYTHING)
    with pytest.raises(InvalidInput):
        begun(session, dana, settings, InspectionTarget.EVERYTHING)
    inspections.end(session, ended.id, actor=Actor(dana.id))
    begun(session, dana, settings, InspectionTarget.EVERYTHING)


def test_the_database_limits_an_inspection_to_one_day(session: Session, dana: User, settings: Settings) -> None:
    found = begun(session, dana, settings, InspectionTarget.EVERYTHING)
    session.flush()
    with pytest.raises(IntegrityError), session.begin_nested():
        session.execute(
            text("UPDATE inspections SET ends_at = :late WHERE id = :id"),
            {"late": clock.now() + timedelta(days=2), "id": found.id},
        )

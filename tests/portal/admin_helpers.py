"""One row of everything that only the admin area shows, for the tests of all routes."""

import uuid
from typing import Any

from sqlalchemy.orm import Session

from models.announcements import Level
from models.config.settings import Settings
from models.inspections import InspectionTarget
from models.services.actor import Actor
from models.services.gateway import inspections
from models.services.notifications import announcements
from models.services.settings import overrides
from models.users import User

# Ids that nothing has, under the names that the routes give them.
NOTHING: dict[str, Any] = {
    "change_id": 0,
    "key": "limits.proxy_per_minute",
    "announcement_id": uuid.UUID(int=0),
    "inspection_id": uuid.UUID(int=0),
}


def one_of_each(session: Session, dana: User, settings: Settings) -> dict[str, Any]:
    """Make one of each and return their ids."""
    facts: dict[str, Any] = {"value": "900", "reason": "quiet day", "seen": 0, "actor": Actor(dana.id)}
    changed = overrides.change(session, settings, "limits.proxy_per_minute", **facts).change
    assert changed is not None
    words = {"words_en": "We move.", "words_ru": "Мы переезжаем.", "starts_at": None, "ends_at": None}
    told = announcements.create(session, level=Level.INFO, actor=Actor(dana.id), **words)
    watched = inspections.start(
        session,
        target=InspectionTarget.USER,
        name=dana.email,
        minutes=15,
        reason="a question of alice's",
        rules=settings.inspection,
        actor=Actor(dana.id),
    )
    return {**NOTHING, "change_id": changed.id, "announcement_id": told.id, "inspection_id": watched.id}

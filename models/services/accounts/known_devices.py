"""Known devices: recognising clients that an account was used with, and the alert on a login from a new device."""

import hashlib
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models import clock
from models.known_devices import KnownDevice
from models.logins import Login
from models.services import text_validation
from models.services.actor import Actor
from models.services.notifications import outbox
from models.users import User

# As long as the cookie that a browser is known by.
REMEMBERED_FOR = timedelta(days=365)


class RecognisedDevice(NamedTuple):
    """An e-mail address as PostgreSQL lowers it, and by what its account knows a client."""

    email: str
    device: bool
    address: bool


def recognise(session: Session, email: str, *, shown: str, address: str) -> RecognisedDevice:
    """Say whether the account of an e-mail address was used with this device, or from this IP address, before.

    One statement whether or not there is such an account, so that its time says nothing about that.
    """
    if not text_validation.is_printable(email.strip()):
        return RecognisedDevice("", device=False, address=False)
    lowered = func.lower(email.strip())
    mark = hashlib.sha256(shown.encode()).digest()
    owner = select(User.id).where(func.lower(User.email) == lowered).scalar_subquery()
    device = exists().where(KnownDevice.user_id == owner, KnownDevice.mark == mark)
    place = exists().where(Login.user_id == owner, Login.ip_address == address)
    return RecognisedDevice(*session.execute(select(lowered, device, place)).one())


def record_login(session: Session, user: User, shown: str, *, name: str, actor: Actor) -> None:
    """Remember the device that shows `shown`, and write to its user when he has others but never used this one.

    The very first device is nobody's surprise. `name` says in words what kind of device it is.
    """
    moment, mark = clock.now(), hashlib.sha256(shown.encode()).digest()
    has_others = session.scalar(select(exists().where(KnownDevice.user_id == user.id, KnownDevice.mark != mark)))
    # The race: two logins of one device at the same instant. The second waits here for the first, and finds it known.
    met = insert(KnownDevice).values(user_id=user.id, mark=mark, seen_at=moment)
    if session.scalar(met.on_conflict_do_nothing().returning(KnownDevice.mark)) is None:
        own = (KnownDevice.user_id == user.id, KnownDevice.mark == mark)
        session.execute(update(KnownDevice).where(*own).values(seen_at=moment))
    elif has_others:
        outbox.enqueue_mail(
            session,
            "login",
            user,
            dedup_key=f"login:{user.id}:{mark.hex()[:32]}:{moment:%Y-%m-%d}",
            username=user.username,
            at=moment.isoformat(),
            device=name,
            address=actor.ip_address,
        )


def delete_unused(session: Session) -> int:
    """Remove devices whose cookie has run out; returns how many went."""
    gone = delete(KnownDevice).where(KnownDevice.seen_at < clock.now() - REMEMBERED_FOR).returning(KnownDevice.user_id)
    return len(session.execute(gone).all())

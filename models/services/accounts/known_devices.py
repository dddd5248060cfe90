"""Known devices: recognise the clients an account was used with, and alert on a login from a new device."""

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

# The lifetime of the cookie that identifies a browser.
REMEMBERED_FOR = timedelta(days=365)


class RecognisedDevice(NamedTuple):
    """An e-mail address in lower case as PostgreSQL writes it, and how the account knows the client."""

    email: str
    device: bool
    address: bool


def recognise(session: Session, email: str, *, shown: str, address: str) -> RecognisedDevice:
    """Return whether an account was used with this device, or from this IP address, before.

    One statement whether or not the account exists, so that response times do not reveal it.
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
    """Remember the device that sent `shown`; notify the user if it is new and not their first.

    `name` describes the device, such as "Firefox on Windows".
    """
    moment, mark = clock.now(), hashlib.sha256(shown.encode()).digest()
    has_others = session.scalar(select(exists().where(KnownDevice.user_id == user.id, KnownDevice.mark != mark)))
    # Race: two concurrent logins of one device. The second waits here for the first and finds the device known.
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
    """Delete devices whose cookie has expired; return the number deleted."""
    gone = delete(KnownDevice).where(KnownDevice.seen_at < clock.now() - REMEMBERED_FOR).returning(KnownDevice.user_id)
    return len(session.execute(gone).all())

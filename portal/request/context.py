"""What a view asks of the request it serves: settings, user, actor, and its one transaction."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import tzinfo
from typing import cast

from flask import current_app, g, request
from flask_login import current_user
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from jobs.queues import QueueDown, enqueue
from models import time_zones
from models.audit import Origin
from models.config.settings import Settings
from models.logins import Login
from models.services.actor import Actor
from models.services.settings.overrides import CachedSettings
from models.users import User
from portal.extensions import db

logger = logging.getLogger(__name__)


def frozen_settings() -> Settings:
    """Return the settings that this app was started with; asks nobody, so error pages may use it."""
    return cast(Settings, current_app.extensions["zenzefi"])


def runtime_settings() -> CachedSettings:
    """Return this process's memory of what was changed at run time."""
    return cast(CachedSettings, current_app.extensions["zenzefi-runtime"])


def settings() -> Settings:
    """Return the settings for this request, with what was changed at run time; the same ones to its end."""
    if "settings" not in g:
        try:
            g.settings = runtime_settings().get(session())
        except SQLAlchemyError as error:
            # No more than a rollback: what the request has read stays its own, or what it writes to that is lost.
            session().rollback()
            logger.warning("the settings of run time cannot be read: %s", type(error).__name__)
            g.settings = runtime_settings().known
    return cast(Settings, g.settings)


def fresh_settings(session: Session) -> Settings:
    """Return the settings as a transaction that sells something sees them: not a second old."""
    g.settings = runtime_settings().fresh(session)
    return cast(Settings, g.settings)


def maybe_user() -> User | None:
    """Return who is logged in, if anybody is."""
    return cast(User, current_user.user) if current_user.is_authenticated else None


def login() -> Login:
    """Return the login that this request came with; only for views behind `access.require_login`."""
    return cast(Login, current_user.login)


def impersonation() -> Login | None:
    """Return the login of an admin who looks at the portal as another user, if it is one."""
    if not current_user.is_authenticated or current_user.user is login().user:
        return None
    return login()


def user() -> User:
    """Return who is logged in; only for views behind `access.require_login`."""
    found = maybe_user()
    if found is None:
        raise RuntimeError("a view that needs a login was reached without one")
    return found


def zone() -> tzinfo:
    """Return the time zone in which the reader of this page reads times; UTC while none is known."""
    reader = maybe_user()
    return time_zones.zone_of(reader.time_zone if reader else None)


def actor() -> Actor:
    """Return who acts in this request, and from where, for the audit log."""
    user_id = login().user_id if current_user.is_authenticated else None
    return Actor(user_id, request.remote_addr, request.user_agent.string, g.get("request_id"), Origin.PAGE)


def set_request_user(user_id: uuid.UUID) -> None:
    """Note whose request this is, for what is written down of it when the database may not answer any more."""
    g.whose = str(user_id)


def session() -> Session:
    """Return the request's session, for reading; writing goes through `transaction`."""
    return db.session()


@contextmanager
def transaction() -> Iterator[Session]:
    """Commit what the block did, or roll all of it back; views own their transactions, services never do."""
    own = session()
    try:
        yield own
        own.commit()
    except BaseException:
        own.rollback()
        raise


def enqueue_job(job: str, *args: str) -> bool:
    """Ask for a job after the commit. With Redis down the request still succeeds: a sweep finds the work.

    Says whether the job is in its queue, for what no sweep does.
    """
    try:
        enqueue(job, *args)
    except QueueDown:
        logger.warning("%s was not queued: Redis is down; the sweep will find it", job)
        return False
    return True

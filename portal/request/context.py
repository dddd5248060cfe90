"""Request context for views: settings, user, actor, session and transaction."""

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
    """Return the settings that this app was started with; needs no database, so error pages may use it."""
    return cast(Settings, current_app.extensions["zenzefi"])


def runtime_settings() -> CachedSettings:
    """Return this process's cache of settings changed at run time."""
    return cast(CachedSettings, current_app.extensions["zenzefi-runtime"])


def settings() -> Settings:
    """Return the settings for this request, including changes at run time; the same until it ends."""
    if "settings" not in g:
        try:
            g.settings = runtime_settings().get(session())
        except SQLAlchemyError as error:
            # Only a rollback: objects that the request has read stay in the session, or changes to them are lost.
            session().rollback()
            logger.warning("cannot read the settings changed at run time: %s", type(error).__name__)
            g.settings = runtime_settings().known
    return cast(Settings, g.settings)


def fresh_settings(session: Session) -> Settings:
    """Return the settings as the given transaction sees them, for sales."""
    g.settings = runtime_settings().fresh(session)
    return cast(Settings, g.settings)


def maybe_user() -> User | None:
    """Return the signed-in user, if any."""
    return cast(User, current_user.user) if current_user.is_authenticated else None


def login() -> Login:
    """Return the login of this request; only for views behind `auth.require_login`."""
    return cast(Login, current_user.login)


def impersonation() -> Login | None:
    """Return the admin's login while it impersonates another user, else None."""
    if not current_user.is_authenticated or current_user.user is login().user:
        return None
    return login()


def user() -> User:
    """Return the signed-in user; only for views behind `auth.require_login`."""
    found = maybe_user()
    if found is None:
        raise RuntimeError("a view that needs a login was reached without one")
    return found


def zone() -> tzinfo:
    """Return the user's time zone; UTC while it is unknown."""
    reader = maybe_user()
    return time_zones.zone_of(reader.time_zone if reader else None)


def actor() -> Actor:
    """Return the actor of this request for the audit log."""
    user_id = login().user_id if current_user.is_authenticated else None
    return Actor(user_id, request.remote_addr, request.user_agent.string, g.get("request_id"), Origin.PAGE)


def set_request_user(user_id: uuid.UUID) -> None:
    """Remember the request's user for its log entry, which may be written while the database is down."""
    g.whose = str(user_id)


def session() -> Session:
    """Return the request's database session, for reading; use `transaction` to write."""
    return db.session()


@contextmanager
def transaction() -> Iterator[Session]:
    """Commit the block, or roll it back when it raises; views own transactions, services never do."""
    own = session()
    try:
        yield own
        own.commit()
    except BaseException:
        own.rollback()
        raise


def enqueue_job(job: str, *args: str) -> bool:
    """Enqueue a job after the commit. While Redis is down the request still succeeds: a sweep finds the work.

    Returns whether the job was queued, for work that no sweep does.
    """
    try:
        enqueue(job, *args)
    except QueueDown:
        logger.warning("%s was not queued: Redis is down; the sweep will find it", job)
        return False
    return True

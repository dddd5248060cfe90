"""Starts the delivery jobs right after a request's commit, so that mails and webhooks leave at once."""

from functools import cache

from flask import Flask, current_app

from jobs.queues import wake
from models.services.notifications import wake_ups
from portal.extensions import db


def init_app(app: Flask) -> None:
    """Follow the commits of the portal; `app` needs its Redis connection (portal/status/metrics.py)."""
    assert "metrics" in app.extensions  # noqa: S101 - set up before
    _follow()


@cache
def _follow() -> None:
    """Register once per process, since all apps share the session factory."""
    wake_ups.follow(db.session, lambda jobs: wake(current_app.extensions["metrics"], jobs))

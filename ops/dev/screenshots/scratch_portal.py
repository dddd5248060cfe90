"""Scratch portal with sample data on private servers, for screenshots and fuzzing."""

import logging
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from unittest.mock import patch
from uuid import UUID

from flask import Flask
from redis import Redis
from werkzeug.serving import WSGIRequestHandler, make_server

from models import database
from models.config import settings as config
from models.config.settings import Settings
from ops.commands.migrate import migrate
from ops.dev.screenshots import fake_telemetry, sample_data
from ops.dev.screenshots.actors import SampleShop
from ops.dev.screenshots.backdating import Backdating
from ops.dev.screenshots.pages import Portal
from ops.processes.ports import LOOPBACK, free_port
from ops.servers import PostgresServer, RedisServer
from portal import create_app

SECRETS = ("PORTAL__SECRET_KEY", "TOKENS__HASH_KEY", "TOKENS__MAC_KEYS", "PAYMENTS__MOCK_SIGNING_KEY")

# High limits: every variant of the run repeats failing requests.
LIMITS = {f"ZENZEFI_LIMITS__{name}": "1000" for name in ("AUTH_PER_HOUR", "AUTH_PER_ADDRESS", "REGISTRATIONS_PER_HOUR")}
PORTAL_SETTINGS: dict[Portal, dict[str, str]] = {
    "usual": {},
    "mailing": {"ZENZEFI_MAIL__SMTP_HOST": LOOPBACK},
    "closed": {"ZENZEFI_MAINTENANCE__ON": "true"},
}


@dataclass(frozen=True)
class ScratchPortal:
    """A running portal and its sample data; `addresses` has all portals on the same database."""

    app: Flask
    addresses: Mapping[Portal, str]
    shop: SampleShop

    @property
    def address(self) -> str:
        return self.addresses["usual"]


@contextmanager
def start_scratch_portal(more: Mapping[str, str] | None = None) -> Iterator[ScratchPortal]:
    """Start PostgreSQL and Redis in a temporary folder, add the sample data, and serve the portal from this process.

    `more` are further settings, as environment variables.
    """
    with tempfile.TemporaryDirectory(prefix="zenzefi-shots-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o711)  # the user that PostgreSQL runs as for root must be able to pass through
        with (
            PostgresServer(folder / "postgres", fast=True, mark=name) as postgres,
            RedisServer(folder / "redis", fast=True, mark=name) as redis,
        ):
            known = {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url, **_secrets(), **(more or {})}
            with ExitStack() as stack:
                yield _start_portals(known, stack)


def settings_of(app: Flask) -> Settings:
    """Return the settings of a portal."""
    return cast(Settings, app.extensions["zenzefi"])


def _secrets() -> dict[str, str]:
    return {f"ZENZEFI_{name}": secrets.token_hex(24) for name in SECRETS}


def _start_portals(known: Mapping[str, str], stack: ExitStack) -> ScratchPortal:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Jobs are enqueued with the settings of the process (jobs/queues.py).
    stack.enter_context(patch.dict(os.environ, known))
    settings = config.load_settings(known)
    migrate(settings)
    engine = database.connect(settings.database)
    made = sample_data.make(Backdating(engine, database.sessions(engine)), settings)
    engine.dispose()
    with closing(Redis.from_url(settings.redis.url)) as redis:
        fake_telemetry.report(redis, cast(UUID, made.ids["token_id"][0][1]))
    apps, addresses = {}, {}
    for portal, weather in PORTAL_SETTINGS.items():
        port = free_port()
        addresses[portal] = f"http://{LOOPBACK}:{port}"
        own = {**LIMITS, **known, **weather, "ZENZEFI_PORTAL__PUBLIC_URL": addresses[portal]}
        apps[portal] = create_app(config.load_settings(own))
        stack.enter_context(_serving(apps[portal], port))
    return ScratchPortal(apps["usual"], addresses, made)


@contextmanager
def _serving(app: Flask, port: int) -> Iterator[None]:
    server = make_server(LOOPBACK, port, app, threaded=True, request_handler=_QuietHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class _QuietHandler(WSGIRequestHandler):
    """Does not log requests."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""

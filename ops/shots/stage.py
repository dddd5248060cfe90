"""A portal with a shop in it, for as long as it is looked at: own servers, own database, nothing else."""

import logging
import secrets
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from models import config, database
from models.config import Settings
from ops.addresses import LOOPBACK, free_port
from ops.migrate import migrate
from ops.servers import PostgresServer, RedisServer
from ops.shots import shop
from ops.shots.making import Shop
from ops.shots.past import Past
from portal import create_app

SECRETS = ("PORTAL__SECRET_KEY", "TOKENS__HASH_KEY", "TOKENS__MAC_KEYS", "PAYMENTS__MOCK_SIGNING_KEY")


@dataclass(frozen=True)
class Stage:
    """A running portal and what is in it."""

    app: Flask
    address: str
    shop: Shop


@contextmanager
def stage(more: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """Start a PostgreSQL and a Redis in a temporary folder, fill them, and serve the portal from this process.

    `more` are settings besides, as environment variables.
    """
    with tempfile.TemporaryDirectory(prefix="zenzefi-shots-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o711)  # the user that PostgreSQL runs as for root must be able to pass through
        with (
            PostgresServer(folder / "postgres", fast=True, mark=name) as postgres,
            RedisServer(folder / "redis", fast=True, mark=name) as redis,
        ):
            port = free_port()
            yield from _served(_settings(postgres.url, redis.url, port, more or {}), port)


def settings_of(app: Flask) -> Settings:
    """Return the settings of a portal."""
    return cast(Settings, app.extensions["zenzefi"])


def _settings(database_url: str, redis_url: str, port: int, more: Mapping[str, str]) -> Settings:
    made = {f"ZENZEFI_{name}": secrets.token_hex(24) for name in SECRETS}
    addresses = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    return config.load({**made, **addresses, **more, "ZENZEFI_PORTAL__PUBLIC_URL": f"http://{LOOPBACK}:{port}"})


def _served(settings: Settings, port: int) -> Iterator[Stage]:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    migrate(settings)
    engine = database.connect(settings.database)
    made = shop.make(Past(engine, database.sessions(engine)), settings)
    engine.dispose()
    app = create_app(settings)
    server = make_server(LOOPBACK, port, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Stage(app, f"http://{LOOPBACK}:{port}", made)
    finally:
        server.shutdown()
        thread.join()


class _Quiet(WSGIRequestHandler):
    """Says nothing about requests that went well."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""

"""The token check that nginx asks in the benchmark, in Flask. All kinds verify a token's MAC first.

`asking` looks the token up in PostgreSQL each time and `sharing` in Redis, so that a revoke counts at once, as it does
at our workers: these do what a check is for. `remembering` has every good token in memory and would never learn of a
revoke: no check, but the most that nginx could get.
"""

import os
from collections.abc import Callable
from pathlib import Path

from flask import Flask, request
from redis import Redis

from models import database
from models.config import settings as config
from models.services.crypto import secrets
from models.services.gateway import sessions

SECRETS_FILE = "ZENZEFI_BENCH_TOKENS"
GOOD = "bench:good"  # the set of good tokens' hashes in Redis


def asking() -> Flask:
    """Make the application that asks the database."""
    settings = config.load_settings()
    factory = database.sessions(database.connect(settings.database))

    def is_good(secret_hash: bytes) -> bool:
        with factory() as session:
            known = sessions.find(session, secret_hash)
        return known is not None and not known.is_revoked and known.owner_is_active

    return _app(settings, is_good)


def sharing() -> Flask:
    """Make the application that asks Redis."""
    settings = config.load_settings()
    redis = Redis.from_url(settings.redis.url)
    redis.sadd(GOOD, *(secret_hash.hex() for secret_hash in _hashes(settings)))
    return _app(settings, lambda secret_hash: bool(redis.sismember(GOOD, secret_hash.hex())))


def remembering() -> Flask:
    """Make the application that knows the tokens of the file that the environment names."""
    settings = config.load_settings()
    return _app(settings, set(_hashes(settings)).__contains__)


def _hashes(settings: config.Settings) -> list[bytes]:
    return [secrets.hash_of(settings.tokens, line) for line in Path(os.environ[SECRETS_FILE]).read_text().split()]


def _app(settings: config.Settings, is_good: Callable[[bytes], bool]) -> Flask:
    app = Flask("check")

    @app.route("/_check")
    def check() -> tuple[str, int]:
        secret = request.headers.get("X-Access-Token", "")
        genuine = secrets.is_genuine(settings.tokens, secret)
        return "", 204 if genuine and is_good(secrets.hash_of(settings.tokens, secret)) else 401

    return app

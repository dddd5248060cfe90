"""Users with a balance, access tokens and API logins on a scratch installation, for benchmarks and load tests."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from models import database
from models.config import settings as config
from models.config.settings import Settings
from models.logins import LoginKind
from models.services.accounts import logins, users
from models.services.actor import PLATFORM
from models.services.ledger import adjustments
from models.services.tokens import purchase as token_purchase
from models.users import User
from ops.bootstrap import REPOSITORY
from ops.console import Failure
from portal.api import login_tokens

TOKEN_HOURS = 24
BALANCE = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Buyer:
    """A user, and the secrets of the access tokens that they bought."""

    user: User
    secrets: list[str]


def migrate(environment: Mapping[str, str]) -> str:
    """Migrate an empty database and return its demo token. Raises Failure when that fails."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ops.launcher.first_run"],
        env=dict(environment), cwd=REPOSITORY, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines() or ["no output"]
        raise Failure(f"The database could not be migrated: {reason[-1]}")
    return str(json.loads(done.stdout.strip().splitlines()[-1])["demo_token"])


@contextmanager
def connected(environment: Mapping[str, str]) -> Iterator[tuple[Settings, Engine]]:
    """Load the settings of an environment and connect to its database; the connections are closed afterwards."""
    settings = config.load_settings(environment)
    engine = database.connect(settings.database)
    try:
        yield settings, engine
    finally:
        engine.dispose()


def create(
    session: Session, settings: Settings, name: str, *, password: str, tokens: int = 0, is_superuser: bool = False
) -> Buyer:
    """Register `name`@example.test with a balance of a million ZNC and buy them access tokens."""
    user = users.register(
        session, email=f"{name}@example.test", username=name, password=password, actor=PLATFORM,
        is_superuser=is_superuser,
    )  # fmt: skip
    adjustments.adjust(session, user, amount=BALANCE, reason="load test", actor=PLATFORM)
    secrets = [
        token_purchase.purchase(
            session, user, hours=TOKEN_HOURS, scope="full", name="", settings=settings, actor=PLATFORM
        )[1]
        for _ in range(tokens)
    ]  # fmt: skip
    return Buyer(user, secrets)


def log_in(session: Session, settings: Settings, user: User) -> str:
    """Return a bearer token of the JSON API that is valid for an hour."""
    login = logins.begin(session, user, kind=LoginKind.API, lifetime=timedelta(hours=1), actor=PLATFORM)
    return login_tokens.issue(settings.portal, user, login)

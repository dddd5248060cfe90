"""A database with somebody who has bought tokens."""

import json
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal

from models import database
from models.config import settings as config
from models.services.accounts import users
from models.services.actor import PLATFORM
from models.services.ledger import adjustments
from models.services.tokens import purchase as token_purchase
from ops.bootstrap import REPOSITORY
from ops.console import Failure
from ops.processes.secret_files import random_key

HOURS = 24


def prepare(environment: Mapping[str, str]) -> str:
    """Migrate an empty database and return its demo token."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ops.launcher.first_run"],
        env=dict(environment), cwd=REPOSITORY, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines() or ["it said nothing"]
        raise Failure(f"The database could not be prepared: {reason[-1]}")
    return str(json.loads(done.stdout.strip().splitlines()[-1])["demo_token"])


def buy(environment: Mapping[str, str], count: int) -> list[str]:
    """Register a buyer with money and return the secrets of that many tokens."""
    settings = config.load_settings(environment)
    engine = database.connect(settings.database)
    try:
        with database.sessions(engine).begin() as session:
            buyer = users.register(
                session, email="buyer@example.test", username="buyer", password=random_key(), actor=PLATFORM
            )
            price = settings.prices.znc[HOURS] * count
            adjustments.adjust(session, buyer, amount=Decimal(price), reason="benchmark", actor=PLATFORM)
            return [
                token_purchase.purchase(
                    session, buyer, hours=HOURS, scope="full", name="", settings=settings, actor=PLATFORM
                )[1]
                for _ in range(count)
            ]  # fmt: skip
    finally:
        engine.dispose()

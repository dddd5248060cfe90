"""Actions of sample users at a time in the past: register, top up, buy and use tokens."""

import random
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from models import clock
from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.payments import MockCheckout
from models.services.accounts import users
from models.services.actor import Actor
from models.services.gateway import sessions, usage_counts
from models.services.payments import callbacks, settlement, topups
from models.services.payments.providers import mock
from models.services.payments.providers.base import Outcome
from models.services.tokens import purchase as token_purchase
from models.users import User
from ops.dev.screenshots.backdating import Backdating

PASSWORD = "a password for pictures"  # noqa: S105 - of users of a scratch database
BUYER, NEWCOMER, ADMIN = "alice@example.org", "nina@example.org", "dana@example.org"
TWO_FACTOR_USER, VIEWER = "greta@example.org", "victor@example.org"
LAPTOP = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
AGENTS = (LAPTOP, "curl/8.14.1", "python-requests/2.32.5", "ZenzefiClient/0.7.3 (Windows 11)")
TO_TRY = "<b>bold</b>"


@dataclass
class SampleShop:
    """The created objects: for each URL argument the values to visit, each with a label; the first is the default.

    `codes` are single-use recovery codes of the user with two-factor login.
    """

    ids: dict[str, list[tuple[str, object]]] = field(default_factory=dict)
    codes: list[str] = field(default_factory=list)

    def add(self, argument: str, label: str, value: object) -> None:
        """Add a value of a URL argument."""
        self.ids.setdefault(argument, []).append((label, value))


class SampleActions:
    """The actions, with shared settings and a seeded random generator."""

    def __init__(self, past: Backdating, settings: Settings) -> None:
        self.past = past
        self.settings = settings
        self.chance = random.Random(7)  # noqa: S311 - reproducible, no secrets
        self.shop = SampleShop()

    def person(self, days: float, name: str, **more: Any) -> User:
        facts: dict[str, Any] = {
            "email": f"{name}@example.org",
            "username": name,
            "full_name": f"{name.title()} Keller",
            **more,
        }
        with self.past.ago(days) as session:
            return users.register(session, password=PASSWORD, actor=self.actor(None), **facts)

    def actor(self, user: User | None) -> Actor:
        return Actor(user.id if user else None, f"203.0.113.{self.chance.randint(1, 254)}", LAPTOP)

    def top_up(self, days: float, user: User, amount: str, outcome: Outcome | None = "succeeded") -> uuid.UUID:
        with self.past.ago(days) as session:
            payment = topups.start(
                session, user, amount=Decimal(amount), provider="mock", return_url="/wallet",
                settings=self.settings, actor=self.actor(user),
            )  # fmt: skip
            checkout = session.scalars(select(MockCheckout).where(MockCheckout.payment_id == payment.id)).one()
            if outcome is not None:
                mock.decide(session, checkout.id, outcome)
                session.refresh(checkout)
                [event] = mock.MockProvider(self.settings).fetch(session, payment)
                stored = callbacks.store_event(session, "mock", event)
                if stored is not None:
                    settlement.settle(session, stored)
            return payment.id

    def buy(self, days: float, user: User, hours: int, name: str, **more: Any) -> AccessToken:
        with self.past.ago(days) as session:
            return token_purchase.purchase(
                session, user, hours=hours, name=name, settings=self.settings, actor=self.actor(user),
                **{"scope": "full", **more},
            )[0]  # fmt: skip

    def use(self, days: float, token: AccessToken, *, minutes: int, requests: int, ended: bool = True) -> uuid.UUID:
        """Use a token from a device for some minutes."""
        device = f"{self.chance.getrandbits(80):020x}" if self.chance.random() < 0.7 else None
        actor = Actor(None, f"198.51.100.{self.chance.randint(1, 254)}", self.chance.choice(AGENTS))
        with self.past.ago(days) as session:
            opened = sessions.start_session(session, token.id, device=device, rules=self.settings.sessions, actor=actor)
            done = min(opened.started_at + timedelta(minutes=minutes), clock.now() + timedelta(days=days))
            sent, received = self.chance.randint(200, 9000), self.chance.randint(2_000, 900_000)
            usage_counts.add_counts(
                session, [usage_counts.SessionCounts(opened.id, requests, requests * sent, requests * received, done)]
            )
            opened.ended_at = done if ended else None
            return opened.id

"""Services as the entry points call them, for attacks on money."""

import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.database import Sessions
from models.services.payments import callbacks, settlement
from models.services.payments.providers import Event
from tests.factories import Crash, assert_sound, balance, crash_after, decided, engine_of, person, top_up


class Shop:
    """The services as the entry points use them: each call is one committed transaction."""

    def __init__(self, committed: tuple[Settings, Sessions]) -> None:
        self.settings, self.factory = committed
        self.alice = person(self.factory, "alice", balance="100")

    def run(self, call: Callable[[Session], Any]) -> Any:
        """Commit one call."""
        with self.factory.begin() as session:
            return call(session)

    def pay(self, amount: str = "50") -> Event:
        """Pay at the provider as alice, and return the callback's event."""
        return self.run(lambda s: decided(s, top_up(s, self.alice, self.settings, amount), self.settings))

    def callback(self, event: Event) -> uuid.UUID | None:
        """Accept a verified callback as the portal does."""
        return self.run(lambda s: callbacks.store_event(s, "mock", event))

    def settle(self, event_id: uuid.UUID) -> str:
        """Run the settlement job."""
        return self.run(lambda s: settlement.settle(s, event_id))

    def money(self) -> Decimal:
        """Return alice's balance."""
        return self.run(lambda s: balance(s, self.alice))

    def count(self, entity: Any, *where: Any) -> int:
        """Count rows."""
        return self.run(lambda s: s.scalar(select(func.count()).select_from(entity).where(*where))) or 0


def every_row(bind: Session | Connection) -> dict[str, list[str]]:
    """Return every row of every table as text."""
    names = bind.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
    return {name: sorted(bind.scalars(text(f'SELECT t::text FROM "{name}" AS t'))) for name in names}


def everything(shop: Shop) -> dict[str, list[str]]:
    """Return every row of every table as text."""
    found: dict[str, list[str]] = shop.run(every_row)
    return found


def assert_all_or_nothing(shop: Shop, call: Callable[[Session], Any], must_change: set[str]) -> None:
    """Crash a call after each of its statements, then run it completely: all of its effects exist, or none."""
    before, statements = everything(shop), 0
    while True:
        statements += 1
        try:
            with crash_after(engine_of(shop.factory), statements):
                shop.run(call)
        except Crash:
            assert everything(shop) == before, f"a crash after statement {statements} left something behind"
            assert_sound(shop.factory)
        else:
            break
    assert statements > 6, "the crashes did not reach the operation"
    after = everything(shop)
    assert {name for name in after if after[name] != before[name]} == must_change
    assert_sound(shop.factory)

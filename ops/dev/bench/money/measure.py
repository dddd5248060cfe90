"""Measurements of the shop: purchases over the JSON API, payment callbacks, and ledger verification."""

import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, text

from models import clock
from models.config.settings import Settings
from models.database import Sessions
from models.payments import Payment, PaymentStatus
from models.services.actor import PLATFORM
from models.services.ledger import adjustments
from models.services.ledger import verification as ledger_verification
from models.services.payments.providers import mock
from models.users import User
from ops.console import Failure
from ops.dev import sample_buyers
from ops.dev.bench import wrk
from ops.dev.bench.memory import process_tree

CLIENTS = 16
SAMPLE_SECONDS = 0.02
# More than a portal answers in a second, so that no callback is sent twice.
CALLBACKS_PER_SECOND = 1000
PURCHASE = '{"duration_hours": 1, "scope": "full"}'
BEARER = "Authorization: Bearer "


@dataclass(frozen=True, slots=True)
class Loads:
    """wrk on a portal: its program, the portal's address, a folder for its files, and how long each load lasts."""

    tool: str
    address: str
    folder: Path
    seconds: int

    def api(self, factory: Sessions, settings: Settings, wallets: int) -> dict[str, wrk.Load]:
        """Measure reads and purchases by users who have that many wallets in all."""
        with factory.begin() as session:
            users = session.scalars(select(User).where(User.is_active).order_by(User.created_at).limit(wallets)).all()
            for user in users:
                adjustments.adjust(session, user, amount=sample_buyers.BALANCE, reason="benchmark", actor=PLATFORM)
            logins = [sample_buyers.log_in(session, settings, user) for user in users]
        cases = {
            "GET balance": ("GET", "/api/v1/currency/balance", BEARER),
            "GET my-tokens": ("GET", "/api/v1/tokens/my-tokens", BEARER),
            "POST purchase": ("POST", "/api/v1/tokens/purchase", BEARER, PURCHASE),
        }
        return {f"{name}, {wallets:,} wallet(s)": self._load(logins, *case) for name, case in cases.items()}

    def callbacks(self, factory: Sessions, settings: Settings) -> wrk.Load:
        """Measure genuine callbacks of the mock provider, each of another payment."""
        provider, lines = mock.MockProvider(settings), []
        for payment in _payments(factory, settings, self.seconds * CALLBACKS_PER_SECOND):
            about = {"id": payment.provider_payment_id, "amount": f"{payment.amount_rub:.2f}", "currency": "RUB"}
            body, headers = provider.signed({"id": str(uuid.uuid4()), "event": "payment.succeeded", "payment": about})
            lines.append(f"{headers[mock.SIGNATURE_HEADER]}\t{body.decode()}")
        return self._load(lines, "POST", "/api/v1/webhooks/payment", f"{mock.SIGNATURE_HEADER}: ")

    def _load(self, lines: Iterable[str], *more: str) -> wrk.Load:
        file = self.folder / "requests"
        file.touch(0o600)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return wrk.run(self.tool, self.address, file, connections=CLIENTS, seconds=self.seconds, keep=True, more=more)


def verify(factory: Sessions, postmaster: int) -> dict[str, Any]:
    """Verify the ledger once; returns the seconds, and the memory needed by this process and by the server."""
    with factory() as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"}).execute(text("VACUUM ANALYZE"))
    spilled = _spilled(factory)
    with _private_memory(postmaster) as memory, factory.begin() as session:
        begun = time.monotonic()
        report = ledger_verification.verify(session)
        seconds = time.monotonic() - begun
    if not report.is_sound:
        raise Failure(f"The seeded ledger is not sound: {', '.join(report.faults)}.")
    return {
        "transfers": report.transfers,
        "seconds": round(seconds, 2),
        "own_mib": round(memory["own"] / 2**20, 1),
        "server_mib": round(memory["server"] / 2**20, 1),
        "spilled_mib": round((_spilled(factory) - spilled) / 2**20, 1),
    }


def _payments(factory: Sessions, settings: Settings, count: int) -> Sequence[Payment]:
    """Insert pending payments of the mock provider and return them."""
    rate = settings.prices.rub_per_znc
    common = {
        "provider": "mock",
        "amount_znc": 1,
        "amount_rub": rate,
        "rub_per_znc": rate,
        "status": PaymentStatus.PENDING,
        "return_url": "/wallet/benchmark",
        "expires_at": clock.now() + timedelta(hours=1),
    }
    with factory.begin() as session:
        users = session.scalars(select(User.id).limit(1000)).all()
        rows = [
            {"user_id": users[number % len(users)], "provider_payment_id": str(uuid.uuid4()), **common}
            for number in range(count)
        ]
        session.execute(insert(Payment), rows)
    with factory() as session:
        found = session.scalars(select(Payment).where(Payment.return_url == common["return_url"])).all()
        session.expunge_all()
        return found


def _spilled(factory: Sessions) -> int:
    """Return the bytes that the server has written to temporary files; its statistics lag by a second."""
    time.sleep(1.1)
    with factory.begin() as session:
        query = text("SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()")
        return int(session.scalar(query) or 0)


@contextmanager
def _private_memory(postmaster: int) -> Iterator[dict[str, int]]:
    """Sample the private memory of this process and of the server; yields the largest growth of each, in bytes."""
    grew, done = {"own": 0, "server": 0}, threading.Event()
    before = {"own": _private(["self"]), "server": _private(process_tree(postmaster))}

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            grew["own"] = max(grew["own"], _private(["self"]) - before["own"])
            grew["server"] = max(grew["server"], _private(process_tree(postmaster)) - before["server"])

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield grew
    finally:
        done.set()
        thread.join()


def _private(pids: Sequence[int | str]) -> int:
    """Return the private memory of processes in bytes, without a server's shared buffers."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
    return total

"""The measurements of money, each on servers and a history that stand already."""

import http.client
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, text

from models import clock
from models.config.settings import Settings
from models.database import Sessions
from models.ledger import Account, AccountKind
from models.payments import Payment, PaymentStatus
from models.services.ledger import verification as ledger_verification
from ops.bootstrap import REPOSITORY
from ops.console import Failure
from ops.dev.bench.load_clients import arrivals
from ops.dev.bench.memory import family
from ops.doctor.callbacks import MockVoice, words_of
from ops.processes.ports import LOOPBACK

CLIENTS, PROCESSES = 16, 4
SAMPLE_SECONDS = 0.02


def purchases(environment: Mapping[str, str], wallets: int, seconds: float) -> dict[str, Any]:
    """Let sixteen clients buy for some seconds from so many wallets."""
    threads = CLIENTS // PROCESSES
    crowd = [
        subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "ops.dev.bench.money.clients"),
                *(str(part) for part in (seconds, threads, wallets, index * threads)),
            ],
            env=dict(environment), cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for index in range(PROCESSES)
    ]  # fmt: skip
    latencies: list[float] = []
    try:
        for process in crowd:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            if process.stdout.readline() != "ready\n":
                raise Failure("A client of the benchmark did not start.")
        for process in crowd:
            assert process.stdin is not None  # noqa: S101 - for the type checker
            process.stdin.write("\n")
            process.stdin.flush()
        for process in crowd:
            said, _ = process.communicate(timeout=seconds + 60)
            if process.returncode:
                raise Failure("A client of the benchmark failed.")
            latencies += json.loads(said)
    finally:
        for process in crowd:
            process.kill()
            process.wait()
    return _figures(len(latencies), seconds, latencies) | {"wallets": wallets, "clients": CLIENTS}


def verify(factory: Sessions, postmaster: int) -> dict[str, Any]:
    """Prove the books once, and say how long that took and how much memory it needed, here and in the server."""
    with factory() as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"}).execute(text("VACUUM ANALYZE"))
    spilled = _spilled(factory)
    with _private_memory(postmaster) as memory, factory.begin() as session:
        begun = time.monotonic()
        report = ledger_verification.verify(session)
        seconds = time.monotonic() - begun
    if not report.is_sound:
        raise Failure(f"The history of the benchmark is not sound: {', '.join(report.faults)}.")
    return {
        "transfers": report.transfers,
        "seconds": round(seconds, 2),
        "own_mib": round(memory["own"] / 2**20, 1),
        "server_mib": round(memory["server"] / 2**20, 1),
        "spilled_mib": round((_spilled(factory) - spilled) / 2**20, 1),
    }


def callbacks(factory: Sessions, settings: Settings, port: int, seconds: float) -> dict[str, Any]:
    """Send genuine callbacks, each of another payment, by sixteen clients for some seconds."""
    key = settings.payments.mock_signing_key
    if key is None:
        raise Failure("The mock provider has no key.")
    voice = MockVoice(key.get_secret_value())
    waiting = _payments(factory, settings, int(max(seconds * 1000, 100)))
    ready = iter([(body, voice.signed(body)) for body in (voice.body(words_of(each, "succeeded")) for each in waiting)])
    lock, latencies, errors = threading.Lock(), list[float](), 0
    until = time.monotonic() + seconds

    def send() -> None:
        nonlocal errors
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
        while time.monotonic() < until:
            with lock:
                callback = next(ready, None)
            if callback is None:
                return
            begun = time.monotonic()
            connection.request("POST", "/api/v1/webhooks/payment", *callback)
            answer = connection.getresponse()
            answer.read()
            with lock:
                latencies.append((time.monotonic() - begun) * 1000)
                errors += answer.status != 200

    threads = [threading.Thread(target=send) for _ in range(CLIENTS)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _figures(len(latencies), time.monotonic() - begun, latencies) | {"errors": errors, "clients": CLIENTS}


def _payments(factory: Sessions, settings: Settings, count: int) -> Sequence[Payment]:
    rate = settings.prices.rub_per_znc
    with factory.begin() as session:
        query = select(Account.user_id).where(Account.kind == AccountKind.WALLET, Account.balance > 0)
        users = session.scalars(query.order_by(Account.id).limit(1000)).all()
        facts = {
            "provider": "mock",
            "amount_znc": 1,
            "amount_rub": rate,
            "rub_per_znc": rate,
            "status": PaymentStatus.PENDING,
            "return_url": "",
            "expires_at": clock.now() + timedelta(hours=1),
        }
        rows = [
            {"user_id": users[number % len(users)], "provider_payment_id": str(uuid.uuid4()), **facts}
            for number in range(count)
        ]
        session.execute(insert(Payment), rows)
    with factory.begin() as session:
        pending = select(Payment).where(Payment.status == PaymentStatus.PENDING)
        found = session.scalars(pending).all()
        session.expunge_all()
        return found


def _figures(count: int, seconds: float, latencies: list[float]) -> dict[str, Any]:
    seen = arrivals(count, 0, latencies)
    return {"per_second": round(count / seconds, 1), "p50": seen.p50, "p95": seen.p95, "highest": seen.highest}


def _spilled(factory: Sessions) -> int:
    """Return the bytes that the server has written to temporary files, once it has counted them."""
    time.sleep(1.1)
    with factory.begin() as session:
        query = text("SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()")
        return int(session.scalar(query) or 0)


@contextmanager
def _private_memory(postmaster: int) -> Iterator[dict[str, int]]:
    """Sample the private memory of this process and of the server's: what grew most, in bytes."""
    grew, done = {"own": 0, "server": 0}, threading.Event()
    before = {"own": _private(["self"]), "server": _private(family(postmaster))}

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            grew["own"] = max(grew["own"], _private(["self"]) - before["own"])
            grew["server"] = max(grew["server"], _private(family(postmaster)) - before["server"])

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield grew
    finally:
        done.set()
        thread.join()


def _private(pids: Sequence[int | str]) -> int:
    """Return the bytes that processes have for themselves; a server's shared buffers are not theirs."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
    return total

"""`./zenzefi doctor payments` attacks a portal over HTTP, finds what lets money in, and leaves the books alone."""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from models.ledger import Transfer
from models.outbox import OutboxMail
from models.payments import Payment, PaymentStatus
from models.services.payments import callbacks, manual_review, topups
from models.services.payments.providers.mock import MockProvider
from models.users import User
from ops.doctor import __main__ as doctor
from ops.doctor import payments as attacks
from ops.doctor.findings import House
from portal.request import context
from tests.factories import assert_sound
from tests.ops.portals import serving
from tests.providers.fake_stripe import WEBHOOK_SECRET

Committed = tuple[Settings, Sessions]
NOWHERE = "http://127.0.0.1:9"
PRODUCTION = {
    "ZENZEFI_PLATFORM__ENVIRONMENT": "production",
    "ZENZEFI_PORTAL__PUBLIC_URL": "https://shop.example",
    "ZENZEFI_PROXY__PUBLIC_URL": "https://proxy.example",
    "ZENZEFI_UPSTREAM__URL": NOWHERE,
    "ZENZEFI_PAYMENTS__PROVIDERS": "[]",
    "ZENZEFI_PAYMENTS__STRIPE_SECRET_KEY": "sk_test_a_key_that_only_tests_use",
    "ZENZEFI_PAYMENTS__STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    "ZENZEFI_PAYMENTS__STRIPE_API": NOWHERE,
    "ZENZEFI_PAYMENTS__YOOKASSA_SHOP_ID": "100500",
    "ZENZEFI_PAYMENTS__YOOKASSA_SECRET_KEY": "a yookassa key that only tests use",
    "ZENZEFI_PAYMENTS__YOOKASSA_API": NOWHERE,
}


@pytest.fixture
def worker(committed: Committed, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A worker that settles at once; returns what it was asked for."""
    asked: list[tuple[str, ...]] = []

    def work(*job: str) -> None:
        asked.append(job)
        with committed[1].begin() as session:
            topups.settle(session, uuid.UUID(job[1]))

    monkeypatch.setattr(context, "enqueue", work)
    return asked


@pytest.fixture
def portal(committed: Committed, redis: Redis) -> Iterator[str]:
    with serving(committed[0]) as address:
        yield address


@pytest.fixture
def run(
    committed: Committed,
    environment: dict[str, str],
    portal: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """Run the command as somebody at the terminal does; returns its exit code and findings."""
    for name, value in {**environment, "DATABASE_URL": committed[0].database.url}.items():
        monkeypatch.setenv(name, value)

    def run_it(*subjects: str) -> tuple[int, list[dict[str, Any]]]:
        code = doctor.main([*subjects, "--portal", portal, "--json"])
        return code, json.loads(capsys.readouterr().out)["findings"]

    return run_it


def ill(findings: list[dict[str, Any]]) -> list[str]:
    return [line["what"] for line in findings if line["level"] != "ok"]


def test_a_sound_house_withstands_every_attack_and_its_books_are_as_they_were(
    committed: Committed, worker: list[tuple[str, ...]], run: Callable[..., Any]
) -> None:
    _settings, factory = committed
    for times in (1, 2):
        code, findings = run("payments", "ledger")
        assert (code, ill(findings)) == (0, ["The books are proved each night"])
        assert len(findings) > 40
        with factory.begin() as session:
            [user] = session.scalars(select(User)).all()
            assert not user.is_active
            assert session.scalar(select(func.count()).select_from(Transfer)) == 2 * times
            left = session.scalars(select(Payment.status).distinct())
            assert set(left) == {PaymentStatus.CANCELED, PaymentStatus.REFUNDED}
            assert manual_review.count(session) == 0
            assert session.scalars(select(OutboxMail)).all() == []
    assert_sound(factory)


def test_in_production_every_provider_is_attacked_and_no_znc_is_moved(
    committed: Committed, environment: dict[str, str], redis: Redis, worker: list[tuple[str, ...]]
) -> None:
    assert redis
    settings = config.load_settings({**environment, **PRODUCTION, "DATABASE_URL": committed[0].database.url})
    with serving(settings) as address:
        findings = list(attacks.examine(House(settings, committed[1], address)))
    assert [found for found in findings if not found.is_well] == []
    assert {found.what.partition(":")[0] for found in findings} >= {"stripe", "yookassa"}
    with committed[1].begin() as session:
        assert session.scalars(select(Transfer)).all() == []
        assert set(session.scalars(select(Payment.status))) == {PaymentStatus.CANCELED}


def test_a_portal_that_believes_everybody_is_found_out_and_healed(
    committed: Committed, worker: list[tuple[str, ...]], run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = MockProvider.verify
    voice = attacks.voices(committed[0])[0]

    def credulous(self: MockProvider, callback: Any) -> Any:
        return right(self, replace(callback, headers=voice.signed(callback.body)))

    monkeypatch.setattr(MockProvider, "verify", credulous)
    code, findings = run("payments")
    assert code == 1
    assert "mock: a wrongly signed callback is refused" in ill(findings)
    assert "mock: a stale callback is refused" in ill(findings)
    assert ill(findings)[-1] != "The books add up after the attacks"
    assert findings[-2] == {
        "subject": "payments",
        "what": "The attacks have left no ZNC behind",
        "level": "ok",
        "seen": "0.00 ZNC",
    }


def test_a_ledger_that_credits_a_replay_is_found_out(
    worker: list[tuple[str, ...]], run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(session: Any, provider: str, event: Any) -> Any:
        return right(session, provider, replace(event, event_id=str(uuid.uuid4())))

    right = callbacks.store_event
    monkeypatch.setattr(callbacks, "store_event", forgetful)
    assert "mock: it is stored once" in ill(run("payments")[1])


def test_a_house_in_which_no_worker_runs_is_told_so(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_arguments: object) -> str:
        raise OperationalError("SELECT", {}, Exception("lock timeout"))

    # What cannot be settled at once is left to a job.
    monkeypatch.setattr(topups, "settle", locked)
    monkeypatch.setattr(context, "enqueue", lambda *_job: None)
    monkeypatch.setattr(attacks, "JOB_SECONDS", 0.1)
    code, findings = run("payments")
    assert code == 1
    assert any("is a worker running?" in line["seen"] for line in findings)


def test_a_subject_alone_can_be_examined(run: Callable[..., Any], committed: Committed) -> None:
    code, findings = run("ledger")
    assert (code, {line["subject"] for line in findings}) == (0, {"ledger"})
    with committed[1].begin() as session:
        session.execute(text("UPDATE accounts SET balance = 1 WHERE kind = 'sales'"))
    assert run("ledger")[0] == 1


def test_a_portal_that_does_not_answer_cannot_be_attacked(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run
    assert doctor.main(["payments", "--portal", NOWHERE]) == 1
    assert "--portal names another address" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        doctor.main(["the weather"])

"""Payments are settled although callbacks, jobs or providers fail, and every job is idempotent."""

import http.server
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from jobs import context
from jobs import payments as jobs
from models import clock
from models.config.settings import Settings
from models.database import Sessions
from models.payments import MockCheckout, Payment, PaymentEvent, PaymentStatus
from models.services.errors import NotFound
from models.services.payments import callbacks, manual_review, settlement
from models.services.payments.providers import mock
from models.services.payments.providers.base import Callback
from models.users import User
from tests.conftest import some_id
from tests.factories import assert_sound, balance, decided, top_up

Committed = tuple[Settings, Sessions]
Run = Callable[[Callable[..., Any]], Any]


@pytest.fixture
def pay(shop: Committed, buyer: User, run: Run) -> Callable[..., Payment]:
    """Start a payment some time ago, with the customer's decision if wanted."""

    def started(outcome: Any = None, *, stored: bool = False) -> Payment:
        payment = run(lambda s: top_up(s, buyer, shop[0], "10"))
        if outcome:
            event = run(lambda s: decided(s, s.get_one(Payment, payment.id), shop[0], outcome))
            if stored:
                run(lambda s: callbacks.store_event(s, "mock", event))
        hour_ago = clock.now() - timedelta(minutes=50)
        run(
            lambda s: s.execute(
                update(Payment).where(Payment.id == payment.id).values(created_at=hour_ago, check_at=hour_ago)
            )
        )
        run(lambda s: s.execute(update(PaymentEvent).values(received_at=hour_ago)))
        return payment

    return started


def dies(*_arguments: Any, **_named: Any) -> None:
    """Stand in for a process that is killed here."""
    raise SystemExit


def status(run: Run, payment: Payment) -> str:
    """Return a payment's status."""
    return run(lambda s: s.get_one(Payment, payment.id).status)


def test_the_sweep_settles_events_without_a_job_and_a_second_run_does_nothing(
    shop: Committed, buyer: User, run: Run, pay: Callable[..., Payment]
) -> None:
    pay("succeeded", stored=True)
    pay("succeeded", stored=True)
    assert [jobs.sweep_events() for _ in range(2)] == [2, 0]
    assert run(lambda s: balance(s, buyer)) == 120
    assert_sound(shop[1])


def test_the_sweep_leaves_new_events_to_their_own_job(run: Run, pay: Callable[..., Payment]) -> None:
    pay("succeeded", stored=True)
    run(lambda s: s.execute(update(PaymentEvent).values(received_at=clock.now())))
    assert jobs.sweep_events() == 0


def test_an_event_that_cannot_be_settled_does_not_block_others(
    buyer: User, run: Run, pay: Callable[..., Payment], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = pay("succeeded", stored=True), pay("succeeded", stored=True)
    settle = settlement.settle

    def sometimes(session: Any, event_id: Any, **options: Any) -> str:
        if session.get_one(PaymentEvent, event_id).payment_id == broken.id:
            raise NotFound("wallet")
        return settle(session, event_id, **options)

    monkeypatch.setattr(settlement, "settle", sometimes)
    assert jobs.sweep_events() == 1
    assert (status(run, broken), status(run, sound)) == (PaymentStatus.PENDING, PaymentStatus.SUCCEEDED)


def test_settling_is_idempotent(buyer: User, run: Run, pay: Callable[..., Payment]) -> None:
    pay("succeeded", stored=True)
    event_id = str(run(lambda s: s.scalars(select(PaymentEvent.id)).one()))
    assert [jobs.settle(event_id) for _ in range(2)] == ["credited", "credited"]
    assert run(lambda s: balance(s, buyer)) == 110


def test_a_settlement_whose_worker_dies_half_way_is_done_by_the_next(
    buyer: User, run: Run, pay: Callable[..., Payment], monkeypatch: pytest.MonkeyPatch
) -> None:
    pay("succeeded", stored=True)
    event_id = str(run(lambda s: s.scalars(select(PaymentEvent.id)).one()))
    with monkeypatch.context() as patch:
        patch.setattr(settlement.outbox, "enqueue_mail", dies)
        with pytest.raises(SystemExit):
            jobs.settle(event_id)
    assert run(lambda s: balance(s, buyer)) == 100
    assert jobs.settle(event_id) == "credited"
    assert run(lambda s: balance(s, buyer)) == 110


def test_providers_are_queried_about_pending_payments_and_a_second_run_does_nothing(
    shop: Committed, buyer: User, run: Run, pay: Callable[..., Payment]
) -> None:
    paid, refused, open_still = pay("succeeded"), pay("canceled"), pay()
    assert [jobs.ask_providers() for _ in range(2)] == [2, 0]
    assert [status(run, payment) for payment in (paid, refused, open_still)] == ["succeeded", "canceled", "pending"]
    assert run(lambda s: balance(s, buyer)) == 110
    assert_sound(shop[1])


def test_a_rejected_response_is_reviewed_and_does_not_block_others(
    buyer: User, run: Run, pay: Callable[..., Payment]
) -> None:
    odd, sound = pay("succeeded"), pay("succeeded")
    odd_checkout = MockCheckout.payment_id == odd.id
    run(lambda s: s.execute(update(MockCheckout).where(odd_checkout).values(amount_rub=1)))
    assert jobs.ask_providers() == 2
    assert (status(run, odd), status(run, sound)) == ("pending", "succeeded")
    assert run(manual_review.count) == 1


def test_payments_expire_once(run: Run, pay: Callable[..., Payment]) -> None:
    payment = pay()
    run(lambda s: s.execute(update(Payment).values(expires_at=clock.now())))
    assert [jobs.expire_pending() for _ in range(2)] == [1, 0]
    assert status(run, payment) == "expired"


@pytest.fixture
def portal(shop: Committed, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bytes, dict[str, str]]]]:
    """Requests to the portal's address; a body that asks for it is answered with 503."""
    arrived: list[tuple[str, bytes, dict[str, str]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            arrived.append((self.path, body, dict(self.headers)))
            self.send_response(503 if len(arrived) == 1 else 200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        changed = shop[0].portal.model_copy(update={"port": server.server_port})
        monkeypatch.setattr(context, "settings", lambda: shop[0].model_copy(update={"portal": changed}))
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield arrived
        server.shutdown()


def test_the_mock_provider_signs_its_callback_and_retries_until_it_is_accepted(
    shop: Committed, run: Run, pay: Callable[..., Payment], portal: list[tuple[str, bytes, dict[str, str]]]
) -> None:
    payment = pay("succeeded")
    checkout_id = str(run(lambda s: s.scalars(select(MockCheckout.id)).one()))
    with pytest.raises(OSError, match="503"):
        jobs.deliver_mock_callback(checkout_id)
    assert jobs.deliver_mock_callback(checkout_id) == 200
    events = [
        mock.MockProvider(shop[0]).verify(Callback(headers, body, clock.now())) for _path, body, headers in portal
    ]
    assert {path for path, _body, _headers in portal} == {"/api/v1/webhooks/payment"}
    assert events[0] == events[1]
    assert events[0].provider_payment_id == payment.provider_payment_id


def test_an_unknown_checkout_is_not_reported(shop: Committed) -> None:
    with pytest.raises(NotFound):
        jobs.deliver_mock_callback(str(some_id()))

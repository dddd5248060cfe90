"""Attacks on the payment callbacks: each is told with what came of it, and none may move a kopeck.

What is attacked are payments of the doctor's own. In development, with the mock provider, one of them is really
credited and given back; in production no ZNC is moved at all. Either way the books are proved afterwards.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from models.payments import Payment, PaymentStatus
from models.services.ledger import verification as ledger_verification
from ops.doctor import hostile
from ops.doctor.callbacks import CUT_OFF, Address, Headers, Voice, signers, words_of
from ops.doctor.findings import Finding, House
from ops.doctor.patients import Patient

KNOWN = ("mock", "stripe", "yookassa")
JOB_SECONDS = 30.0
AT_ONCE = 8


def examine(house: House) -> Iterator[Finding]:
    """Attack every provider that is switched on, and those that are not."""
    on = house.settings.payments.known
    for provider in (*(name for name in KNOWN if name not in on), "nobody"):
        status = Address(house, provider).send(b"{}", {})
        yield Finding(f"{provider}, which is switched off, is not heard", status == 404, f"status {status}")
    patient = Patient(house)
    try:
        for voice in signers(house.settings):
            yield from _Attack(house, voice, patient).run()
        if "yookassa" in on:
            yield from _unsigned(house, patient)
    finally:
        patient.heal()
    left = patient.credited()
    yield Finding("The attacks have left no ZNC behind", left == 0, f"{left:.2f} ZNC")
    with house.sessions.begin() as session:
        report = ledger_verification.verify(session)
    yield Finding("The books add up after the attacks", report.is_sound, ", ".join(report.faults) or "all rules hold")


def _unsigned(house: House, patient: Patient) -> Iterator[Finding]:
    """YooKassa does not sign: from a foreign address nothing is heard, whoever it says that it is."""
    address, rules = Address(house, "yookassa"), house.settings.payments
    payment = patient.pay("yookassa", str(uuid.uuid4()))
    body = hostile.yookassa_body(payment)
    foreign: dict[str, Headers] = {"from a foreign address": {}}
    if house.settings.portal.trusted_proxies == 0:
        foreign |= hostile.pretended_addresses(str(rules.yookassa_networks[0][1]))
    for what, headers in foreign.items():
        status = address.send(body, headers)
        yield Finding(f"yookassa: a callback {what} is refused", status == 400, f"status {status}")


class _Attack:
    """Everything that is tried on one provider that signs."""

    def __init__(self, house: House, voice: Voice, patient: Patient) -> None:
        self._voice, self._patient = voice, patient
        self._address = Address(house, voice.provider)
        # Only the mock provider's money is no money.
        self._may_credit = voice.provider == "mock" and not house.settings.platform.is_production

    def run(self) -> Iterator[Finding]:
        """Try all of it."""
        payment = self._payment()
        yield from self._refusals(payment)
        yield from self._cancellation()
        if self._may_credit:
            yield from self._credit(payment)

    def _refusals(self, payment: Payment) -> Iterator[Finding]:
        """What must credit nothing, one after the other, on a payment that waits for its callback."""
        kept = 0
        for try_ in hostile.tries(self._voice, payment):
            status = self._address.send(try_.body, try_.headers, method=try_.method, chunked=try_.chunked)
            kept += try_.is_kept
            acted = self._wait(lambda: not self._patient.events(payment, waiting=True))
            stored, credited = self._patient.events(payment), self._patient.credited(payment)
            is_reviewed = self._patient.to_review(payment) == kept
            is_well = status in try_.wanted and acted and is_reviewed and stored == kept and not credited
            answer = "cut off" if status == CUT_OFF else f"status {status}"
            yield self._finding(try_.what, is_well, f"{answer}, {stored} stored, {credited:.2f} ZNC credited")
        now = self._patient.status(payment)
        yield self._finding("after all that the payment waits as before", now is PaymentStatus.PENDING, f"it is {now}")

    def _cancellation(self) -> Iterator[Finding]:
        """A genuine end without money, twice at once and again, and then somebody who says that it was paid."""
        payment = self._payment()
        canceled = self._say(payment, "canceled", event=str(uuid.uuid4()))
        statuses = self._address.send_at_once([canceled] * AT_ONCE)
        what = f"a genuine cancellation, {AT_ONCE} times at the same instant, cancels"
        yield self._stays_canceled(what, payment, statuses)
        stored = self._patient.events(payment)
        yield self._finding("it is stored once", stored == 1, f"{stored} stored, answers {_counted(statuses)}")
        again = [self._send(canceled), self._send(self._say(payment, "canceled"))]
        yield self._stays_canceled("a repeated cancellation changes nothing", payment, again)
        late = [self._send(self._say(payment, "succeeded")) for _ in range(2)]
        yield self._stays_canceled("a late success after the cancellation credits nothing", payment, late)
        waiting = self._patient.to_review(payment)
        yield self._finding("a late success is left to a person", waiting == 2, f"{waiting} of 2 on the admins' list")

    def _credit(self, payment: Payment) -> Iterator[Finding]:
        """The one callback that is right, as often as can be; and then its money back."""
        price = payment.amount_znc
        genuine, other = (self._say(payment, "succeeded", event=str(uuid.uuid4())) for _ in range(2))
        statuses = self._address.send_at_once([genuine, other] * (AT_ONCE // 2))
        what = f"two successes of one payment, {AT_ONCE} callbacks at the same instant, credit once"
        yield self._credits(what, payment, statuses, price)
        yield self._credits("a replayed success credits nothing more", payment, [self._send(genuine)], price)
        late = [self._send(self._say(payment, "canceled"))]
        yield self._credits("a cancellation after the success takes nothing", payment, late, price)
        too_much = [self._send(self._say(payment, "refunded", amount_rub=payment.amount_rub + 1))]
        yield self._credits("a refund of more than was paid takes nothing", payment, too_much, price)
        refund = self._say(payment, "refunded", event=str(uuid.uuid4()))
        statuses = self._address.send_at_once([refund] * AT_ONCE)
        what = f"a refund, {AT_ONCE} times at the same instant, takes the ZNC back once"
        yield self._credits(what, payment, statuses, Decimal(0))
        again = [self._send(self._say(payment, "succeeded")), self._send(refund)]
        yield self._credits("a success after the refund credits nothing", payment, again, Decimal(0))

    def _credits(self, what: str, payment: Payment, statuses: Sequence[int], wanted: Decimal) -> Finding:
        """Wait until the jobs have acted on what was sent, and compare what the payment has brought by then."""
        acted = self._wait(lambda: not self._patient.events(payment, waiting=True))
        credited = self._patient.credited(payment)
        is_well = acted and credited == wanted and set(statuses) == {200}
        return self._finding(what, is_well, f"{credited:.2f} ZNC credited, answers {_counted(statuses)}{_idle(acted)}")

    def _stays_canceled(self, what: str, payment: Payment, statuses: Sequence[int]) -> Finding:
        acted = self._wait(lambda: not self._patient.events(payment, waiting=True))
        status, credited = self._patient.status(payment), self._patient.credited(payment)
        is_well = acted and status is PaymentStatus.CANCELED and credited == 0 and set(statuses) == {200}
        return self._finding(what, is_well, f"status {status}, {credited:.2f} ZNC credited{_idle(acted)}")

    def _payment(self) -> Payment:
        return self._patient.pay(self._voice.provider, self._voice.name_payment())

    def _say(self, payment: Payment, outcome: str, **lies: Any) -> tuple[bytes, Headers]:
        body = self._voice.body(words_of(payment, outcome, **lies))
        return body, self._voice.signed(body)

    def _send(self, callback: tuple[bytes, Headers]) -> int:
        return self._address.send(*callback)

    def _finding(self, what: str, is_well: bool, seen: str) -> Finding:
        return Finding(f"{self._voice.provider}: {what}", is_well, seen)

    @staticmethod
    def _wait(holds: Callable[[], bool]) -> bool:
        """Wait for a job's work; says whether it was done in time."""
        until = time.monotonic() + JOB_SECONDS
        while not holds():
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True


def _counted(statuses: Sequence[int]) -> str:
    return ", ".join(f"{status} x {statuses.count(status)}" for status in sorted(set(statuses)))


def _idle(acted: bool) -> str:
    return "" if acted else f"; no job has acted on it in {JOB_SECONDS:.0f} s, is a worker running?"

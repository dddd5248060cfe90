"""Result of acting on a payment provider's report: a code with parameters, and whether an admin has to review it."""

from dataclasses import dataclass, field

from models.payments import PaymentResult, PaymentReversal, ReversalKind


@dataclass(frozen=True, slots=True)
class EventResult:
    """Result that is stored with the event; amounts in `details` are strings in RUB."""

    code: PaymentResult
    details: dict[str, str] = field(default_factory=dict)
    needs_review: bool = False


def reversal_result(reversal: PaymentReversal, *, needs_review: bool) -> EventResult:
    """Return the result of a report that a reversal's state does not allow to be booked."""
    code = PaymentResult.REFUND_STATE if reversal.kind is ReversalKind.REFUND else PaymentResult.DISPUTE_STATE
    return EventResult(code, {"reversal_state": reversal.state.value}, needs_review)

"""Labels of payment providers' reports, of what was done about them, and of reversals, for the admin area."""

from flask_babel import lazy_gettext as _

from models.payments import PaymentEvent, PaymentResult, PaymentReversal
from models.services import messages
from portal.i18n import gettext, reader_language

OUTCOMES = {
    "succeeded": _("paid"),
    "canceled": _("canceled"),
    "refunded": _("refund"),
    "refund_failed": _("refund failed"),
    "disputed": _("disputed"),
    "dispute_won": _("dispute won"),
    "unreadable": _("a report in an unknown format"),
}


def event_label(said: str) -> str:
    """Return the label of a provider's report."""
    return str(OUTCOMES.get(said, said))


def result_label(event: PaymentEvent) -> str:
    """Return what was done about a report, or why it needs review."""
    text = messages.payment_result_text(event, reader_language())
    is_ignored = event.result in _IGNORED and not event.needs_review
    return gettext("no action (%(why)s)", why=text) if is_ignored else text


def reversal_reason(reversal: PaymentReversal) -> str:
    """Return why a payment was reversed."""
    return messages.reversal_reason_text(reversal, reader_language())


def reversal_note(reversal: PaymentReversal) -> str:
    """Return why a reversal was undone; empty for one that was not."""
    return messages.reversal_note_text(reversal, reader_language())


_IGNORED = {
    PaymentResult.PAYMENT_STATE,
    PaymentResult.REFUND_STATE,
    PaymentResult.DISPUTE_STATE,
    PaymentResult.PAYMENT_UNKNOWN,
}

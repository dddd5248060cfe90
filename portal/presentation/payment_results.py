"""What a payment provider said, and what was done about it, in words; rows keep it in those of the services."""

import re
from decimal import Decimal

from flask_babel import lazy_gettext as _

from models.payments import PaymentStatus, ReversalKind, ReversalState
from portal.i18n import gettext
from portal.presentation import formatting, labels

OUTCOMES = {
    "succeeded": _("paid"),
    "canceled": _("canceled"),
    "refunded": _("refund"),
    "refund_failed": _("refund failed"),
    "disputed": _("disputed"),
    "dispute_won": _("dispute won"),
    "unreadable": _("a report in an unknown form"),
}
_RESULTS = {
    "credited": _("ZNC credited"),
    "canceled": _("payment canceled"),
    "refunded": _("refund recorded"),
    "refund_failed": _("ZNC returned"),
    "disputed": _("dispute recorded"),
    "dispute_won": _("ZNC returned"),
    "won dispute that is not known here": _("won dispute that is not known here"),
    "the amount does not fit the payment": _("the amount or the currency is not that of the payment"),
    "the report cannot be read": _("the report cannot be read"),
    "the payment is unknown": _("the payment is unknown"),
}
_TOO_MUCH = re.compile(r"([0-9.]+) RUB went back, and ([0-9.]+) RUB were left")
_DIFFERS = re.compile(r"([0-9.]+) RUB went back, and ([0-9.]+) RUB are booked")
_STANDS = re.compile(r"the (payment|refund|dispute) is (\w+)")


def event_label(said: str) -> str:
    """Say what a provider said."""
    return str(OUTCOMES.get(said, said))


def result_label(done: str) -> str:
    """Say what was done about it, or why no rule fits."""
    verdict, _between, why = done.rpartition(": ")
    told = _told(why)
    return gettext("no action (%(why)s)", why=told) if verdict == "ignored" else told


def _told(why: str) -> str:
    if found := _TOO_MUCH.fullmatch(why):
        back, left = (formatting.amount(Decimal(amount)) for amount in found.groups())
        return gettext("%(back)s ₽ were refunded, but only %(left)s ₽ were left", back=back, left=left)
    if found := _DIFFERS.fullmatch(why):
        back, booked = (formatting.amount(Decimal(amount)) for amount in found.groups())
        return gettext("%(back)s ₽ went back, and %(booked)s ₽ are booked", back=back, booked=booked)
    if why in _RESULTS:
        return str(_RESULTS[why])
    if found := _STANDS.fullmatch(why):
        about, state = found.groups()
        if about == "payment":
            return f"{gettext('Payment')}: {labels.PAYMENT_STATUSES[PaymentStatus(state)]}"
        return f"{labels.REVERSAL_KINDS[ReversalKind(about)]}: {labels.REVERSAL_STATES[ReversalState(state)]}"
    return why

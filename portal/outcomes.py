"""What a payment provider said, and what was done about it, in words; rows keep it in those of the services."""

import re
from decimal import Decimal

from flask_babel import lazy_gettext as _

from models.payments import PaymentStatus, ReversalKind, ReversalState
from portal import labels, words
from portal.i18n import gettext

OUTCOMES = {
    "succeeded": _("paid"),
    "canceled": _("canceled"),
    "refunded": _("paid back"),
    "refund_failed": _("refund failed"),
    "disputed": _("disputed"),
    "dispute_won": _("dispute won"),
}
_RESULTS = {
    "credited": _("ZNC credited"),
    "canceled": _("the payment is canceled"),
    "refunded": _("the refund is booked"),
    "refund_failed": _("the ZNC are given back"),
    "disputed": _("the dispute is booked"),
    "dispute_won": _("the ZNC are given back"),
    "a dispute was won that is not known here": _("a dispute was won that is not known here"),
}
_TOO_MUCH = re.compile(r"([0-9.]+) RUB went back, and ([0-9.]+) RUB were left")
_STANDS = re.compile(r"the (payment|refund|dispute) is (\w+)")


def outcome(said: str) -> str:
    """Say what a provider said."""
    return str(OUTCOMES.get(said, said))


def result(done: str) -> str:
    """Say what was done about it, or why no rule fits."""
    verdict, _between, why = done.rpartition(": ")
    told = _told(why)
    return gettext("nothing (%(why)s)", why=told) if verdict == "ignored" else told


def _told(why: str) -> str:
    if found := _TOO_MUCH.fullmatch(why):
        back, left = (words.amount(Decimal(amount)) for amount in found.groups())
        return gettext("%(back)s ₽ went back, and only %(left)s ₽ were left", back=back, left=left)
    if found := _STANDS.fullmatch(why):
        about, state = found.groups()
        if about == "payment":
            return f"{gettext('Payment')}: {labels.PAYMENT_STATUSES[PaymentStatus(state)]}"
        return f"{labels.REVERSAL_KINDS[ReversalKind(about)]}: {labels.REVERSAL_STATES[ReversalState(state)]}"
    return str(_RESULTS.get(why, why))

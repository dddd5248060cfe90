"""Labels of the settings that can be changed at run time."""

from collections.abc import Mapping
from decimal import Decimal

from flask_babel import lazy_gettext as _

from portal.presentation.formatting import duration, price

_NOTHING = "\u2013"
# What these hold are numbers, beside the price list.
_NUMBERS = ("limits.", "prices.")
# Label and help of each setting that may change at run time.
SETTINGS = {
    "prices.znc": (_("Prices"), _("One line per duration: hours = ZNC.")),
    "prices.rub_per_znc": (_("Rubles per ZNC"), _("Payments already started keep their rate.")),
    "refund.used_time_rate": (
        _("Price of used time"),
        _(
            "Applied to all tokens when they are revoked. Pro rata: a proportional part of the price paid, so 720"
            " hours for 300 ZNC revoked after one hour cost 0.42 ZNC, less than a single hour. List price: the price"
            " of the shortest duration that covers the usage, at the prices of the purchase; the same hour costs 1"
            " ZNC."
        ),
    ),
    "refund.bundle_rate": (
        _("Refund for a token of a bundle"),
        _(
            "Share: each token refunds its share of the bundle's price, so one token can be kept at the discount."
            " List price: tokens that are kept cost their list price, and the rest is refunded as more are revoked;"
            " an unused bundle is refunded in full."
        ),
    ),
    "debt.pause_tokens": (
        _("Pause tokens while a debt is open"),
        _("Tokens bought with money that was charged back are paused until the debt is repaid."),
    ),
    "renewal.in_outage": (
        _("Auto-renewal in an outage"),
        _(
            "Wait: nothing is charged during an outage, and a token is renewed after its outage credit. Renew: the"
            " price is charged on time, and the purchased time is credited on top of the limit."
        ),
    ),
    "limits.auth_per_hour": (_("Failed sign-ins per account"), _("Per hour; after that each attempt waits longer.")),
    "limits.auth_per_address": (_("Failed sign-ins per address"), _("Per hour, over all accounts.")),
    "limits.registrations_per_hour": (_("Registrations per address"), _("Completed ones, per hour.")),
    "limits.api_per_minute": (_("API requests per minute"), _("Per user.")),
    "limits.proxy_per_minute": (_("Proxy requests per minute"), _("Per token, across all workers.")),
    "limits.proxy_at_once": (_("Concurrent proxy requests"), _("Per token.")),
    "limits.failures_per_minute": (_("Wrong tokens per minute"), _("Per address; valid tokens pass from any address.")),
    "limits.topup_max_znc": (_("Maximum top-up in ZNC"), _("Per payment.")),
    "sessions.device_policy": (
        _("Device policy"),
        _(
            "When sent: a token is used by one device at a time, but clients that never send a device ID "
            "can share it. Required: they cannot."
        ),
    ),
    "maintenance.on": (
        _("Maintenance mode"),
        _(
            "On: the proxy rejects all requests, and buyers cannot change anything. Active tokens are "
            "credited for the time."
        ),
    ),
    "maintenance.retry_after_seconds": (_("Retry after, seconds"), _("Sent to clients.")),
    "maintenance.words_en": (_("English text"), _("Shown to buyers. Optional.")),
    "maintenance.words_ru": (_("Russian text"), _("Shown to buyers. Optional.")),
}
GROUPS = {
    "prices": _("Prices"),
    "refund": _("Refunds"),
    "renewal": _("Auto-renewal"),
    "debt": _("Debts"),
    "limits": _("Limits"),
    "sessions": _("Devices"),
    "maintenance": _("Maintenance"),
}
CHOICES = {
    "refund.used_time_rate": {"prorata": _("pro rata"), "list": _("list price")},
    "refund.bundle_rate": {"share": _("share"), "list": _("list price")},
    "renewal.in_outage": {"wait": _("wait"), "renew": _("renew")},
    "sessions.device_policy": {"off": _("off"), "when_sent": _("when sent"), "required": _("required")},
    "debt.pause_tokens": {"false": _("off"), "true": _("on")},
    "maintenance.on": {"false": _("off"), "true": _("on")},
}


def setting_value(value: object, key: str) -> str:
    """Write a setting's value for reading, be it of the settings or as the history keeps it."""
    if isinstance(value, Mapping):
        pairs = sorted((int(hours), Decimal(znc)) for hours, znc in value.items())
        return " · ".join(f"{duration(hours)}: {price(znc)}".replace(" ", "\u00a0") for hours, znc in pairs)
    known = CHOICES.get(key, {})
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if key.startswith(_NUMBERS) and text.replace(".", "", 1).isdecimal():
        return price(Decimal(text))
    if text in known:
        return str(known[text])
    return text or _NOTHING

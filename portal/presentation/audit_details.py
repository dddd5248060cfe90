"""Labels of an audit entry's details: names, amounts, durations and codes in the reader's language."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from flask_babel import lazy_gettext as _

from models.api_keys import KeyScope
from models.audit import AuditAction, AuditEntry
from models.logins import LoginKind
from models.services import message_catalogue
from portal.i18n import ngettext
from portal.presentation import formatting, job_names, labels, setting_labels

_NOTHING = "\u2013"
# In the order in which they are shown, since JSONB has none. tests/audit_coverage.py checks that every recorded name is
# here.
NAMES = {
    "key": _("setting"),
    "target": _("inspection"),
    "path": _("path"),
    "job": _("job"),
    "what": _("action"),
    "change": _("change"),
    "token": _("token"),
    "bundle": _("bundle"),
    "name": _("name"),
    "code": _("code"),
    "prefix": _("code"),
    "provider": _("provider"),
    "kind": _("sign-in method"),
    "url": _("address"),
    "scope": _("scope"),
    "hours": _("time"),
    "duration_hours": _("duration of each"),
    "days": _("valid for"),
    "minutes": _("for"),
    "seconds": _("time"),
    "count": _("count"),
    "tokens": _("tokens"),
    "token_count": _("tokens"),
    "price": _("price"),
    "amount": _("amount"),
    "amount_znc": _("amount"),
    "amount_rub": _("in rubles"),
    "discount_percent": _("discount"),
    "uses_each": _("uses per code"),
    "refund": _("refund"),
    "used_seconds": _("used"),
    "lapsed": _("forfeited"),
    "grace_seconds": _("old secret valid for"),
    "on": _("auto-renewal"),
    "active": _("in effect"),
    "withdrawn": _("withdrawn"),
    "time_zone": _("time zone"),
    "words": _("text"),
    "description": _("description"),
    "before": _("old value"),
    "after": _("new value"),
    "outage": _("outage"),
    "event": _("event"),
    "note": _("note"),
    "reason": _("reason"),
    "cause": _("reason"),
}
_ORDER = {name: position for position, name in enumerate(NAMES)}
# Values that are codes.
_CHANGES = {
    "added": _("added"),
    "changed": _("altered"),
    "removed": _("removed"),
    "secret_replaced": _("secret rotated"),
    "switched_on": _("enabled"),
    "switched_off": _("disabled"),
    "disabled_after_failures": _("disabled after failures"),
}
# Entries of former versions have these with spaces; the hash chain does not allow a migration.
_CHANGES |= {code.replace("_", " "): label for code, label in _CHANGES.items()}
_KEY_SCOPES = {KeyScope.READ: _("read"), KeyScope.BUY: _("read and write"), KeyScope.ADMIN: _("admin area")}
_STOPPED = {
    "balance": _("insufficient balance"),
    "disabled": _("account disabled"),
    "late": _("too late"),
    "not_for_sale": _("duration no longer sold"),
    "price": _("the price has risen"),
}
_LABELS: Mapping[str, Mapping[Any, object]] = {
    "cause": {cause: _(text) for cause, text in message_catalogue.REVERSAL_CAUSES.items()},
    "change": _CHANGES,
    "job": job_names.JOBS,
    "kind": {LoginKind.PAGE: _("browser"), LoginKind.API: _("API")},
    "provider": labels.PROVIDERS,
    "scope": {**_KEY_SCOPES, **{scope: name for scope, (name, _help) in labels.SCOPES.items()}},
    "target": labels.TARGETS,
    "what": {"again": _("retried"), "removed": _("removed from the list")},
}


@dataclass(frozen=True, slots=True)
class Detail:
    """One detail of an entry; `name` is as recorded, `label` and `value` are for the reader."""

    name: str
    label: str
    value: str


def details(entry: AuditEntry) -> list[Detail]:
    """Return the details of an entry; unknown names and values of an unexpected type are shown as they are."""
    found = [(name, value) for name, value in entry.details.items() if value is not None]
    found.sort(key=lambda detail: _ORDER.get(detail[0], len(_ORDER)))
    return [Detail(name, _name(name), _value(entry, name, value)) for name, value in found]


def _name(name: str) -> str:
    return str(NAMES.get(name, name.replace("_", " ")))


def _value(entry: AuditEntry, name: str, value: object) -> str:
    if isinstance(value, bool) and entry.action is not AuditAction.SETTING_CHANGED:
        return str(_("yes") if value else _("no"))
    try:
        text = _FORMATS[name](value) if name in _FORMATS else _label(entry, name, value)
    except (ArithmeticError, TypeError, ValueError):
        text = str(value)
    return text or _NOTHING


def _label(entry: AuditEntry, name: str, value: object) -> str:
    match entry.action, name:
        case AuditAction.SETTING_CHANGED, "key":
            return str(setting_labels.SETTINGS[str(value)][0]) if value in setting_labels.SETTINGS else str(value)
        case AuditAction.SETTING_CHANGED, "before" | "after":
            return setting_labels.setting_value(value, str(entry.details.get("key")))
        case AuditAction.TOKEN_RENEWAL_STOPPED, "reason":
            return str(_STOPPED.get(str(value), value))
        case AuditAction.TOKEN_PAUSED, "reason":
            return str(_("debt") if value == "debt" else value)
    return str(_LABELS.get(name, {}).get(value, value))


def _znc(value: Any) -> str:
    return f"{formatting.amount(Decimal(value))}\u00a0ZNC"


def _rub(value: Any) -> str:
    return f"{formatting.amount(Decimal(value))}\u00a0₽"


def _hours(value: Any) -> str:
    return formatting.duration(int(value))


def _days(value: Any) -> str:
    return ngettext("%(num)d day", "%(num)d days", int(value))


def _percent(value: Any) -> str:
    return f"{formatting.price(Decimal(value))}\u00a0%"


def _seconds(value: Any) -> str:
    return formatting.span(int(value))


def _minutes(value: Any) -> str:
    return formatting.span(60 * int(value))


_FORMATS: Mapping[str, Callable[[Any], str]] = {
    "amount": _znc,
    "amount_rub": _rub,
    "amount_znc": _znc,
    "days": _days,
    "discount_percent": _percent,
    "duration_hours": _hours,
    "grace_seconds": _seconds,
    "hours": _hours,
    "lapsed": _znc,
    "minutes": _minutes,
    "price": _znc,
    "refund": _znc,
    "seconds": _seconds,
    "used_seconds": _seconds,
}

"""Template filters and globals: amounts, times, bytes, durations, labels."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from math import floor
from urllib.parse import urlencode

from flask import Flask, request, url_for
from flask_babel import format_date, format_datetime, format_timedelta
from flask_babel import lazy_gettext as _
from jinja2 import pass_context
from jinja2.runtime import Context
from werkzeug.local import LocalProxy

from models import clock, time_zones
from models.access_tokens import AccessToken, TokenState
from portal.i18n import format_decimal, gettext
from portal.presentation import (
    audit_details,
    charts,
    error_messages,
    formatting,
    job_names,
    labels,
    payment_results,
    refusal_reasons,
    setting_labels,
    user_agents,
)
from portal.request import context

# The signed-in user, looked up on first use: an error page that does not use it needs no database.
USER = LocalProxy(context.maybe_user)
IMPERSONATION = LocalProxy(context.impersonation)
LABELS = (
    labels.TOKEN_STATES,
    labels.PAYMENT_STATUSES,
    labels.PAYMENT_FAILURES,
    labels.REVERSAL_KINDS,
    labels.REVERSAL_STATES,
    labels.TRANSFER_KINDS,
    labels.AUDIT_ACTIONS,
    labels.MAIL_STATES,
    labels.TOPICS,
    labels.DELIVERY_STATES,
    labels.TARGETS,
)
# A date stays on one line; in narrow cells the time wraps below it.
MOMENT = "d\u00a0MMM\u00a0y, HH:mm"
# For events that follow each other within a minute.
SECOND = f"{MOMENT}:ss"
_STEP = 1024
_UNITS = (_("KiB"), _("MiB"), _("GiB"), _("TiB"), _("PiB"))


def init_app(app: Flask) -> None:
    """Register the filters and globals with Jinja."""
    _add_filters(
        app,
        amount=formatting.amount,
        price=formatting.price,
        setting_value=setting_labels.setting_value,
        plain_amount=lambda value: f"{value:.2f}",
        count=format_decimal,
        bytes=human_bytes,
        moment=moment,
        second=second,
        utc=utc,
        ago=ago,
        day=day,
        date=full_day,
        month=month,
        share=percentage,
        iso=iso,
        span=formatting.span,
        device=user_agents.device,
        duration=formatting.duration,
        job_name=job_names.job_name,
        kind_name=formatting.kind_name,
        scope_name=formatting.scope_name,
        scope_help=formatting.scope_help,
        token_state=token_state,
        label=label,
        sentence_case=sentence_case,
        note=formatting.transfer_description,
        sentence=error_messages.message_of,
        path_fault=error_messages.path_fault,
        topic_help=labels.TOPIC_HELP.__getitem__,
        details=audit_details.details,
        outcome=payment_results.event_label,
        result=payment_results.result_label,
        reversal_reason=payment_results.reversal_reason,
        reversal_note=payment_results.reversal_note,
        ledger_rule=error_messages.ledger_rule,
        delivery_error=error_messages.delivery_error,
        endpoint_error=error_messages.endpoint_error,
        happening=labels.TOKEN_HISTORY.__getitem__,
        stopped=labels.STOPPED.__getitem__,
        refusal=refusal_reasons.short,
    )

    app.jinja_env.globals.update(with_query=with_query, now=now, user=USER)
    # `settings` never changes and needs no database; `current_settings` includes changes made at run time.
    app.jinja_env.globals.update(settings=context.frozen_settings, current_settings=context.settings)
    app.jinja_env.globals.update(setting_words=setting_labels.SETTINGS, setting_groups=setting_labels.GROUPS)
    app.jinja_env.globals.update(viewing=IMPERSONATION)
    app.jinja_env.globals.update(
        bar_chart=charts.bars, written=format_chart_value, refusal_reason=refusal_reasons.reason
    )


def _add_filters(app: Flask, **filters: Callable[..., object]) -> None:
    """Register filters that are called at each rendering, in the reader's language.

    Without `pass_context` Jinja calls a filter of a constant once, when it compiles the template for the first reader.
    """
    for name, call in filters.items():
        app.jinja_env.filters[name] = pass_context(partial(_call_filter, call))


def _call_filter(call: Callable[..., object], _context: Context, *arguments: object, **options: object) -> object:
    return call(*arguments, **options)


def now() -> datetime:
    """Return the current time; called each time, so that tests can freeze it."""
    return clock.now()


def human_bytes(size: int) -> str:
    """Format a number of bytes; the exact number belongs in `title`."""
    if size < _STEP:
        return f"{size} {gettext('B')}"
    value = float(size)
    for unit in _UNITS:
        value /= _STEP
        if value < _STEP or unit == _UNITS[-1]:
            break
    return f"{format_decimal(value, '#,##0.0')} {unit}"


def moment(value: datetime, form: str = MOMENT) -> str:
    """Format a time in the reader's zone; a script does so for readers whose zone is unknown."""
    zone = context.zone()
    # Flask-Babel would convert every time to the app's zone.
    written = format_datetime(value.astimezone(zone), form, rebase=False)
    return f"{written}\u00a0{time_zones.offset_of(value, zone)}"


def second(value: datetime) -> str:
    """Format a time in the reader's zone with seconds."""
    return moment(value, SECOND)


def utc(value: datetime) -> str:
    """Format the exact time in UTC, for `title`."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def day(value: date) -> str:
    """Format a day without its year, for charts and lists of days."""
    return str(format_date(value, "d MMM"))


def full_day(value: date) -> str:
    """Format a day with its year."""
    return str(format_date(value, "d MMM y"))


def month(value: object) -> str:
    """Format a month that is given as 2026-11."""
    return str(format_date(date.fromisoformat(f"{value}-01"), "LLLL y"))


def ago(value: datetime) -> str:
    """Format the difference between a time and now; `static/js/page.js` keeps it current."""
    return str(format_timedelta(value - clock.now(), add_direction=True, threshold=1))


def format_chart_value(value: Decimal | float, how: str) -> str:
    """Format a value of a chart as a "count", as "bytes" or as an "amount"."""
    if how == "bytes":
        return human_bytes(int(value))
    return formatting.amount(Decimal(value)) if how == "amount" else format_decimal(value)


def percentage(value: float) -> str:
    """Format a share in percent, rounded down so that only a full share reads as 100 %."""
    return f"{format_decimal(floor(value * 10_000) / 100, '0.00')} %"


def iso(value: datetime) -> str:
    """Format a time as ISO 8601 in UTC."""
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def token_state(token: AccessToken) -> TokenState:
    """Return the current state of a token."""
    return token.state(clock.now())


def label(value: object) -> str:
    """Return the label of an enum value, or of a payment provider."""
    for known in LABELS:
        if value in known and type(value) is type(next(iter(known))):
            return str(known[value])  # type: ignore[index]  # the types were just compared
    return str(labels.PROVIDERS.get(str(value), value))


def sentence_case(text: object) -> str:
    """Return a text with its first letter in upper case, for options and tabs, which CSS cannot change."""
    return f"{str(text)[:1].upper()}{str(text)[1:]}"


def with_query(endpoint: str | None = None, **changes: str | int | None) -> str:
    """Return the address of this page, or of the list it belongs to, with some of its query changed; None drops one."""
    query = {**request.args.to_dict(), **changes}
    kept = {name: value for name, value in query.items() if value not in {None, ""}}
    # Not by `url_for`, which treats some names as options: a crafted query could choose scheme and endpoint.
    path = url_for(endpoint or request.endpoint or "", **(request.view_args or {}))
    return f"{path}?{urlencode(kept)}" if kept else path

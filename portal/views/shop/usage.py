"""Usage of the user's tokens by day, week or month, as charts, table and CSV."""

import uuid

from flask import Blueprint, Response, render_template, request
from flask_babel import format_date

from models import time_zones
from models.access_tokens import AccessToken
from models.services.reports import usage
from models.services.reports.usage import Period, UsageEntry
from models.services.tokens import queries as token_queries
from portal.documents import list_export
from portal.request import auth, context

blueprint = Blueprint("usage", __name__, url_prefix="/usage")
blueprint.before_request(auth.require_login)

# The newest tokens in the list of choices; others are reached from their own page.
CHOICES = 100
_LABELS = {Period.DAY: "d MMM", Period.WEEK: "d MMM y", Period.MONTH: "LLL y"}
# `first_day_utc` is the former name, for programs that read it: empty where days are not those of UTC.
_HEAD = ("first_day", "requests", "bytes_in", "bytes_out", "sessions", "time_zone", "first_day_utc")


@blueprint.get("")
def overview() -> str:
    """Show the last periods, for all tokens or for one."""
    session, user = context.session(), context.user()
    token, period = _token(), _period()
    entries = _entries(token, period)
    return render_template(
        "usage/overview.html",
        token=token,
        period=period,
        periods=list(Period),
        tokens=token_queries.of_user(session, user.id, limit=CHOICES, offset=0).items,
        entries=entries,
        labels=labels(entries, period),
        total=usage.sum_entries(entries),
    )


@blueprint.get("/csv")
def as_csv() -> Response:
    """Return the same as CSV."""
    token, period = _token(), _period()
    zone = context.user().time_zone or time_zones.DEFAULT
    is_utc = zone == time_zones.DEFAULT
    rows = (
        (day, used.requests, used.bytes_in, used.bytes_out, used.sessions, zone, day if is_utc else "")
        for entry in _entries(token, period)
        for day, used in ((entry.first.isoformat(), entry.usage),)
    )
    whose = token.prefix if token else "all"
    return list_export.rows_as_csv(f"usage-{whose}-by-{period}", _HEAD, rows)


def labels(entries: list[UsageEntry], period: Period) -> list[str]:
    """Format each period in the reader's language."""
    return [format_date(entry.first, _LABELS[period]) for entry in entries]


def _entries(token: AccessToken | None, period: Period) -> list[UsageEntry]:
    token_id = token.id if token else None
    return usage.series(context.session(), period, user_id=context.user().id, token_id=token_id, zone=context.zone())


def _token() -> AccessToken | None:
    """Return the token of the query, if any. Raises NotFound for another user's."""
    token_id = request.args.get("token", type=uuid.UUID)
    return token_queries.owned(context.session(), context.user(), token_id) if token_id else None


def _period() -> Period:
    asked = request.args.get("period", "")
    return Period(asked) if asked in list(Period) else Period.DAY

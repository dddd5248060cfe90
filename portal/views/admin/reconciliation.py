"""Reconciliation of payments with the ledger by day and provider, as a page and as CSV."""

from datetime import date, datetime, timedelta

from flask import Blueprint, Response, render_template, request

from models import clock, time_zones
from models.services.errors import InvalidInput
from models.services.pagination import Page
from models.services.payments import reconciliation as payment_reconciliation
from models.services.payments.reconciliation import Row
from portal.documents import downloads
from portal.documents.csv_writer import csv_lines
from portal.presentation import error_messages
from portal.request import auth, context
from portal.request.pagination import page_slice

blueprint = Blueprint("reconciliation", __name__, url_prefix="/admin/reconciliation")
blueprint.before_request(auth.require_admin)

# Days with a difference that are named above the list.
DAYS_NAMED = 10


@blueprint.get("")
def reconciliation() -> str | tuple[str, int]:
    """Compare payments with the ledger, by day and provider, the newest day first."""
    first, last = _range()
    fault, found, part = "", list[Row](), page_slice()
    platform = context.settings().platform
    try:
        found = payment_reconciliation.daily_totals(context.session(), first, last, platform.zone)
    except InvalidInput as error:
        fault = error_messages.message_of(error)
    shown = Page(found[::-1][part["offset"] :][: part["limit"]], len(found), **part)
    differing = [row.day for row in found if row.difference][:DAYS_NAMED]
    facts = {"first": first, "last": last, "fault": fault, "differing": differing, "zone": platform.time_zone}
    return render_template("admin/reconciliation.html", page=shown, **facts), 400 if fault else 200


@blueprint.get("/csv")
def reconciliation_csv() -> Response:
    """Send the comparison as CSV."""
    first, last = _range()
    platform = context.settings().platform
    found = payment_reconciliation.daily_totals(context.session(), first, last, platform.zone)
    paid = ("day", "provider", "payments", "paid_rub", "paid_znc", "booked_znc")
    returned = ("reversals", "returned_rub", "returned_znc", "unbooked_znc", "difference_znc")
    head = (*paid, *returned, "time_zone", "day_utc")
    rows = (
        (
            row.day.isoformat(),
            row.provider,
            row.payments,
            row.paid_rub,
            row.paid_znc,
            row.booked_znc,
            row.reversals,
            row.returned_rub,
            row.returned_znc,
            row.unbooked_znc,
            row.difference,
            platform.time_zone,
            # The former name of `day`, for programs that read it: empty where days are not those of UTC.
            row.day.isoformat() if platform.time_zone == time_zones.DEFAULT else "",
        )
        for row in found
    )
    return downloads.csv_file(csv_lines(head, rows), f"zenzefi-reconciliation-{first}-{last}.csv")


def _range() -> tuple[date, date]:
    """Return the first and last day of the query; by default the last 30 days."""
    today = time_zones.day_of(clock.now(), context.settings().platform.zone)
    first, last = _day(request.args.get("first")), _day(request.args.get("last"))
    return first or today - timedelta(days=29), last or today


def _day(text: str | None) -> date | None:
    try:
        return datetime.strptime(text or "", "%Y-%m-%d").date()  # noqa: DTZ007 - a day, not a time
    except ValueError:
        return None

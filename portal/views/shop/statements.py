"""Receipts, statements, and the office's reconciliation: as pages and as files."""

import uuid
from collections.abc import Iterable
from datetime import date, datetime, timedelta

from flask import Blueprint, Response, render_template, request, stream_with_context

from models import clock, time_zones
from models.services.errors import InvalidInput, NotFound
from models.services.ledger import statements as wallets
from models.services.ledger import transfers
from models.services.ledger.statements import Month
from models.services.pagination import Page
from models.services.payments import reconciliation as payment_reconciliation
from models.services.payments.reconciliation import Row
from portal.documents import pdf
from portal.presentation import error_messages, formatting
from portal.request import auth, context
from portal.request.pagination import page_slice

blueprint = Blueprint("papers", __name__, url_prefix="/wallet")
blueprint.before_request(auth.require_login)
office = Blueprint("reconciliation", __name__, url_prefix="/admin/reconciliation")
office.before_request(auth.require_admin)

# A PDF is made in memory; of a month with more lines than this the CSV has them all.
PDF_LINES = 2000
# So many of the days on which payments and ledger differ are named above the list.
DAYS_NAMED = 10


@blueprint.get("/receipts/<uuid:transfer_id>")
def receipt(transfer_id: uuid.UUID) -> str:
    """Show the receipt for one movement of the wallet."""
    found = wallets.receipt(context.session(), context.user(), transfer_id)
    facts, seller = pdf.receipt_facts(found), context.settings().seller
    return render_template("wallet/receipt.html", receipt=found, facts=facts, seller=seller)


@blueprint.get("/receipts/<uuid:transfer_id>/pdf")
def receipt_pdf(transfer_id: uuid.UUID) -> Response:
    """Hand out the receipt as a PDF."""
    found = wallets.receipt(context.session(), context.user(), transfer_id)
    return _pdf(pdf.receipt_pdf(found, context.settings().seller), f"zenzefi-receipt-{found.number}.pdf")


@blueprint.get("/statements")
def statements() -> str:
    """List the months, with what each closed with."""
    page = wallets.statements(context.session(), context.user(), **page_slice())
    return render_template("wallet/statements.html", page=page)


@blueprint.get("/statements/<month>")
def statement(month: str) -> str:
    """Show one month of the wallet."""
    session, user, chosen = context.session(), context.user(), _month(month)
    return render_template(
        "wallet/statement.html",
        zone=user.time_zone or time_zones.DEFAULT,
        statement=wallets.statement(session, user, chosen),
        page=wallets.page(session, user, chosen, **page_slice()),
        wallet=transfers.wallet_of(session, user.id),
        signed_amount=transfers.signed_amount,
    )


@blueprint.get("/statements/<month>/csv")
def statement_csv(month: str) -> Response:
    """Hand out a month as CSV, line by line."""
    chosen, user = _month(month), context.user()
    zone = time_zones.zone_of(user.time_zone)
    head = ("time_utc", "receipt", "type", "note", "amount_znc", "balance_znc", "time_local", "time_zone")
    rows = (
        (
            line.entry.created_at,
            wallets.number_of(line.entry),
            line.entry.kind.value,
            formatting.transfer_description(line.entry),
            line.amount,
            line.balance,
            f"{line.entry.created_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            time_zones.label_of(line.entry.created_at, user.time_zone),
        )
        for line in wallets.lines(context.session(), user, chosen)
    )
    return _csv(pdf.csv_lines(head, rows), f"zenzefi-statement-{chosen}.csv")


@blueprint.get("/statements/<month>/pdf")
def statement_pdf(month: str) -> Response:
    """Hand out a month as a PDF, up to `PDF_LINES` lines."""
    session, user, chosen = context.session(), context.user(), _month(month)
    found, lines = wallets.statement(session, user, chosen), wallets.lines(session, user, chosen)
    made = pdf.statement_pdf(found, lines, user, context.settings().seller, at_most=PDF_LINES)
    return _pdf(made, f"zenzefi-statement-{chosen}.pdf")


@office.get("")
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


@office.get("/csv")
def reconciliation_csv() -> Response:
    """Hand out the same as CSV."""
    first, last = _range()
    platform = context.settings().platform
    found = payment_reconciliation.daily_totals(context.session(), first, last, platform.zone)
    paid = ("day", "provider", "payments", "paid_rub", "paid_znc", "booked_znc")
    head = (*paid, "reversals", "returned_rub", "returned_znc", "unbooked_znc", "difference_znc", "time_zone")
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
        )
        for row in found
    )
    return _csv(pdf.csv_lines(head, rows), f"zenzefi-reconciliation-{first}-{last}.csv")


def _month(text: str) -> Month:
    """Read the month in an address; one that is none is a page that is not there."""
    try:
        return Month.parse(text)
    except InvalidInput:
        raise NotFound("month") from None


def _range() -> tuple[date, date]:
    """Return the days that were asked for; by default the last 30."""
    today = time_zones.day_of(clock.now(), context.settings().platform.zone)
    first, last = _day(request.args.get("first")), _day(request.args.get("last"))
    return first or today - timedelta(days=29), last or today


def _day(text: str | None) -> date | None:
    try:
        return datetime.strptime(text or "", "%Y-%m-%d").date()  # noqa: DTZ007 - a day, not a time
    except ValueError:
        return None


def _csv(lines: Iterable[str], name: str) -> Response:
    # The mark at the start lets spreadsheet programs know that it is UTF-8.
    content = stream_with_context(line if number else f"\ufeff{line}" for number, line in enumerate(lines))
    return _file(Response(content, mimetype="text/csv"), name)


def _pdf(content: bytes, name: str) -> Response:
    return _file(Response(content, mimetype="application/pdf"), name)


def _file(response: Response, name: str) -> Response:
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response

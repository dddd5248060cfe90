"""Receipts and monthly statements of the user's own wallet, as pages, PDF and CSV."""

import uuid
from typing import TYPE_CHECKING

from flask import Blueprint, Response, render_template

from models import time_zones
from models.lazy_modules import LazyModule
from models.services.errors import InvalidInput, NotFound
from models.services.ledger import statements as wallet_statements
from models.services.ledger import transfers
from models.services.ledger.statements import Month
from portal.documents import downloads
from portal.documents.csv_writer import csv_lines
from portal.presentation import formatting
from portal.request import auth, context
from portal.request.pagination import page_slice

if TYPE_CHECKING:
    from portal.documents import pdf
else:
    # Loaded at its first use, because it imports the libraries for fonts and images.
    pdf = LazyModule("portal.documents.pdf")

blueprint = Blueprint("statements", __name__, url_prefix="/wallet")
blueprint.before_request(auth.require_login)

# A PDF is built in memory; a longer month is complete only as CSV.
PDF_LINES = 2000


@blueprint.get("/receipts/<uuid:transfer_id>")
def receipt(transfer_id: uuid.UUID) -> str:
    """Show the receipt of a transaction."""
    found = wallet_statements.receipt(context.session(), context.user(), transfer_id)
    facts, seller = pdf.receipt_facts(found), context.settings().seller
    return render_template("wallet/receipt.html", receipt=found, facts=facts, seller=seller)


@blueprint.get("/receipts/<uuid:transfer_id>/pdf")
def receipt_pdf(transfer_id: uuid.UUID) -> Response:
    """Return the receipt as a PDF."""
    found = wallet_statements.receipt(context.session(), context.user(), transfer_id)
    return downloads.pdf_file(pdf.receipt_pdf(found, context.settings().seller), f"zenzefi-receipt-{found.number}.pdf")


@blueprint.get("/statements")
def listing() -> str:
    """List the months with their closing balances."""
    page = wallet_statements.statements(context.session(), context.user(), **page_slice())
    return render_template("wallet/statements.html", page=page)


@blueprint.get("/statements/<month>")
def statement(month: str) -> str:
    """Show one month of the wallet."""
    session, user, chosen = context.session(), context.user(), _month(month)
    return render_template(
        "wallet/statement.html",
        zone=user.time_zone or time_zones.DEFAULT,
        statement=wallet_statements.statement(session, user, chosen),
        page=wallet_statements.page(session, user, chosen, **page_slice()),
        wallet=transfers.wallet_of(session, user.id),
        signed_amount=transfers.signed_amount,
    )


@blueprint.get("/statements/<month>/csv")
def statement_csv(month: str) -> Response:
    """Stream a month as CSV."""
    chosen, user = _month(month), context.user()
    zone = time_zones.zone_of(user.time_zone)
    head = ("time_utc", "receipt", "type", "note", "amount_znc", "balance_znc", "time_local", "time_zone")
    rows = (
        (
            line.entry.created_at,
            wallet_statements.number_of(line.entry),
            line.entry.kind.value,
            formatting.transfer_description(line.entry),
            line.amount,
            line.balance,
            f"{line.entry.created_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            time_zones.label_of(line.entry.created_at, user.time_zone),
        )
        for line in wallet_statements.lines(context.session(), user, chosen)
    )
    return downloads.csv_file(csv_lines(head, rows), f"zenzefi-statement-{chosen}.csv")


@blueprint.get("/statements/<month>/pdf")
def statement_pdf(month: str) -> Response:
    """Return a month as a PDF with up to `PDF_LINES` lines."""
    session, user, chosen = context.session(), context.user(), _month(month)
    found, lines = wallet_statements.statement(session, user, chosen), wallet_statements.lines(session, user, chosen)
    document = pdf.statement_pdf(found, lines, user, context.settings().seller, at_most=PDF_LINES)
    return downloads.pdf_file(document, f"zenzefi-statement-{chosen}.pdf")


def _month(text: str) -> Month:
    """Parse the month in the URL. Raises NotFound."""
    try:
        return Month.parse(text)
    except InvalidInput:
        raise NotFound("month") from None

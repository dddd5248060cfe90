"""Receipts, statements and the reconciliation as pages, CSV and PDF."""

import csv
import io
import re
from decimal import Decimal

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock, time_zones
from models.config.settings import Settings
from models.ledger import Transfer
from models.payments import Payment
from models.services.actor import PLATFORM
from models.services.ledger import adjustments
from models.users import User
from portal.documents import csv_writer
from portal.documents import pdf as files
from portal.presentation import formatting
from portal.views.shop import statements as views
from tests.factories import buy
from tests.models.services.payments.test_reversals import paid
from tests.portal.conftest import Browser, attribute


@pytest.fixture
def payment(session: Session, charlie: User, settings: Settings) -> Payment:
    """A top-up of 50 ZNC by charlie, and a purchased token."""
    made = paid(session, charlie, settings)
    buy(session, charlie, settings)
    session.commit()
    return made


def month() -> str:
    return f"{clock.now():%Y-%m}"


def read(answer: object) -> list[dict[str, str]]:
    text = answer.data.decode("utf-8-sig")  # type: ignore[attr-defined]
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_receipt_is_a_page_and_a_pdf(as_charlie: Browser, session: Session, payment: Payment, language: str) -> None:
    as_charlie.client.set_cookie("lang", language)
    entry = session.scalars(select(Transfer).where(Transfer.reference_id == payment.id)).one()
    assert f"/wallet/receipts/{entry.id}" in as_charlie.get("/wallet").text
    page = as_charlie.get(f"/wallet/receipts/{entry.id}")
    assert str(payment.id) in page.text
    assert ("Чек" in page.text) == (language == "ru")
    assert ("500,00\u00a0₽" if language == "ru" else "500.00\u00a0₽") in page.text
    assert "1 ZNC = 10\u00a0₽" in page.text
    pdf = as_charlie.get(f"/wallet/receipts/{entry.id}/pdf")
    assert (pdf.mimetype, pdf.data[:5]) == ("application/pdf", b"%PDF-")
    assert re.fullmatch(
        r'attachment; filename="zenzefi-receipt-\d{8}-[0-9A-F]{8}\.pdf"', pdf.headers["Content-Disposition"]
    )


def test_a_receipt_writes_the_rubles_of_the_payment(
    as_charlie: Browser, session: Session, charlie: User, settings: Settings
) -> None:
    # 1.30 ZNC at 10.05 cost 13.065: the payment rounded the half cent up, and rounding to even would give 13.06.
    prices = settings.prices.model_copy(update={"rub_per_znc": Decimal("10.05")})
    payment = paid(session, charlie, settings.model_copy(update={"prices": prices}), "1.30")
    session.commit()
    assert payment.amount_rub == Decimal("13.07")
    entry = session.scalars(select(Transfer).where(Transfer.reference_id == payment.id)).one()
    assert "13.07\u00a0₽" in as_charlie.get(f"/wallet/receipts/{entry.id}").text


@pytest.mark.parametrize(("value", "written"), [("13.065", "13.07"), ("13.055", "13.06"), ("-0.125", "-0.13")])
def test_amounts_are_rounded_as_payments_are(app: Flask, value: str, written: str) -> None:
    with app.test_request_context():
        assert formatting.amount(Decimal(value)) == written


def test_a_statement_has_the_same_content_as_page_csv_and_pdf(as_charlie: Browser, payment: Payment) -> None:
    assert f"/wallet/statements/{month()}" in as_charlie.get("/wallet/statements").text
    page = as_charlie.get(f"/wallet/statements/{month()}")
    assert re.search(r'data-testid="closing">.*?32\.00', page.text, re.DOTALL)
    rows = read(as_charlie.get(f"/wallet/statements/{month()}/csv"))
    assert [(row["type"], row["amount_znc"], row["balance_znc"]) for row in rows] == [
        ("deposit", "50.00", "50.00"),
        ("purchase", "-18.00", "32.00"),
    ]
    pdf = as_charlie.get(f"/wallet/statements/{month()}/pdf")
    assert pdf.data[:5] == b"%PDF-"
    assert as_charlie.get("/wallet/statements/2026-13").status_code == 404
    assert read(as_charlie.get("/wallet/statements/2020-01/csv")) == []


def test_statements_and_receipts_name_the_time_zone(
    as_charlie: Browser, session: Session, charlie: User, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(files.PdfDocument, "write_pairs", lambda _paper, pairs: written.extend(pairs))
    entry = session.scalars(select(Transfer).where(Transfer.reference_id == payment.id)).one()
    for zone, shown, offset in ((None, "UTC", "UTC"), ("Asia/Kathmandu", "Asia/Kathmandu", "UTC+5:45")):
        charlie.time_zone = zone
        session.commit()
        month_now = f"{clock.now().astimezone(time_zones.zone_of(zone)):%Y-%m}"
        receipt = as_charlie.get(f"/wallet/receipts/{entry.id}").text
        assert f"<dd>{shown}</dd>" in receipt
        assert f"\u00a0{offset}</dd>" in receipt
        assert f"time zone {shown}." in as_charlie.get(f"/wallet/statements/{month_now}").text
        row = read(as_charlie.get(f"/wallet/statements/{month_now}/csv"))[0]
        assert row["time_utc"].endswith(" UTC")
        assert row["time_zone"] == time_zones.label_of(entry.created_at, zone)
        assert row["time_local"] == f"{entry.created_at.astimezone(time_zones.zone_of(zone)):%Y-%m-%d %H:%M:%S}"
        written.clear()
        as_charlie.get(f"/wallet/statements/{month_now}/pdf")
        as_charlie.get(f"/wallet/receipts/{entry.id}/pdf")
        assert written.count(("Time zone", shown)) == 2


def test_a_truncated_pdf_says_so(as_charlie: Browser, payment: Payment, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(files.PdfDocument, "write_line", lambda _paper, text, *_: said.append(text))
    for at_most, left_out in ((2, False), (1, True)):
        monkeypatch.setattr(views, "PDF_LINES", at_most)
        assert as_charlie.get(f"/wallet/statements/{month()}/pdf").data[:5] == b"%PDF-"
        assert ("Showing the first 1 of 2 lines. The CSV file contains all of them." in said) is left_out


def test_a_table_goes_on_over_pages_and_breaks_what_is_too_long(settings: Settings) -> None:
    paper = files.PdfDocument("Long", settings.seller)
    long = "Two hundred letters " * 10
    paper.write_table(("When", "Note", "Amount", "Balance"), (40, 86, 24, 24), [("now", long, "1", "2")] * 40)
    # Three or more lines of 6 mm for each row; a page of A4 has room for some forty.
    assert len(paper.pages) >= 3
    assert paper.get_y() < paper.page_break_trigger


def test_no_csv_cell_is_a_formula_in_a_spreadsheet(
    as_charlie: Browser, charlie: User, session: Session, payment: Payment
) -> None:
    from_admin = '=HYPERLINK("http://evil.example","x")'
    adjustments.adjust(session, charlie, amount=payment.amount_znc, reason=from_admin, actor=PLATFORM)
    session.commit()
    rows = read(as_charlie.get(f"/wallet/statements/{month()}/csv"))
    assert rows[-1]["note"] == f"'{from_admin}"
    for text in ("=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "\N{FULLWIDTH EQUALS SIGN}1"):
        assert next(iter(csv_writer.csv_lines([text], []))).startswith(("'", "\"'"))


def test_payments_are_reconciled_by_day_as_page_and_csv(as_dana: Browser, payment: Payment) -> None:
    today = f"{clock.now():%Y-%m-%d}"
    page = as_dana.get("/admin/reconciliation")
    assert f'data-day="{today}"' in page.text
    assert 'data-difference="0.00"' in page.text
    [row] = read(as_dana.get(f"/admin/reconciliation/csv?first={today}&last={today}"))
    assert (row["provider"], row["payments"], row["paid_rub"], row["difference_znc"]) == ("mock", "1", "500.00", "0.00")
    assert (row["day"], row["day_utc"]) == (today, today), "programs may read the former name"
    bad = as_dana.get("/admin/reconciliation?first=2020-01-01")
    assert (bad.status_code, "up to one year" in bad.text) == (400, True)
    assert as_dana.get("/admin/reconciliation/csv?first=2020-01-01").status_code == 400
    assert as_dana.get("/admin/reconciliation?first=nonsense").status_code == 200


def test_a_receipt_of_a_purchase_shows_what_was_paid(as_charlie: Browser, session: Session, payment: Payment) -> None:
    entry = session.scalars(select(Transfer).where(Transfer.kind == "purchase")).one()
    page = as_charlie.get(f"/wallet/receipts/{entry.id}")
    assert "-18.00 ZNC" in page.text
    assert "₽" not in page.text
    assert attribute(as_charlie.get("/wallet"), "balance", "data-amount") == "32.00"

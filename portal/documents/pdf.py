"""PDF receipts and monthly statements; the fonts come from a package and have Latin and Cyrillic letters."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import font_roboto
from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos

from models import time_zones
from models.config.shop import Seller
from portal.i18n import format_decimal
from portal.i18n import gettext as _
from portal.presentation import formatting, labels
from portal.template_filters import moment, month

_MARGIN, _LINE = 18, 6
_GREY, _PALE = 110, 215


class PdfDocument(FPDF):
    """An A4 document: the seller in the header, the title below, page numbers in the footer."""

    def __init__(self, title: str, seller: Seller) -> None:
        super().__init__(format="A4")
        self._seller = seller
        self.set_title(title)
        self.set_margin(_MARGIN)
        self.add_font("Roboto", "", font_roboto.font_files["Roboto"])
        self.add_font("Roboto", "B", font_roboto.font_files["RobotoBold"])
        self.alias_nb_pages()
        self.add_page()
        self.set_font("Roboto", "B", 18)
        self.write_line(title, 12)
        self.ln(3)

    def header(self) -> None:
        self.set_font("Roboto", "", 9)
        self.set_text_color(_GREY)
        for line in (self._seller.name, self._seller.address, self._seller.tax_id):
            if line:
                self.write_line(line, 5)
        self.set_text_color(0)
        self.ln(4)

    def footer(self) -> None:
        self.set_y(3 - _MARGIN)
        self.set_font("Roboto", "", 8)
        self.set_text_color(_GREY)
        self.cell(0, 5, f"{self.page_no()} / {{nb}}", align="R")
        self.set_text_color(0)

    def write_line(self, text: str, height: float = _LINE) -> None:
        """Write one line."""
        self.multi_cell(0, height, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def write_pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Write pairs of a name and a value, one per line."""
        for name, value in pairs:
            self.set_font("Roboto", "", 10)
            self.set_text_color(_GREY)
            self.cell(60, _LINE + 1, name)
            self.set_text_color(0)
            self.multi_cell(0, _LINE + 1, value, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def write_table(self, head: Sequence[str], widths: Sequence[int], rows: Iterable[Sequence[str]]) -> None:
        """Write a table with its header on each page; the last two columns are numbers.

        FPDF's own tables support spanning cells, which takes seconds for a thousand rows.
        """
        self._head(head, widths)
        for row in rows:
            lines = [self._lines(text, width) for text, width in zip(row, widths, strict=True)]
            height = max(len(cell) for cell in lines) * _LINE
            if self.will_page_break(height):
                self.add_page()
                self._head(head, widths)
            self.set_draw_color(_PALE)
            self._row(lines, widths, height)

    def _head(self, head: Sequence[str], widths: Sequence[int]) -> None:
        self.set_font("Roboto", "B", 9)
        self.set_draw_color(0)
        self._row([[text] for text in head], widths, _LINE)
        self.set_font("Roboto", "", 9)

    def _row(self, lines: Sequence[Sequence[str]], widths: Sequence[int], height: float) -> None:
        top, left = self.get_y(), self.l_margin
        for number, (cell, width) in enumerate(zip(lines, widths, strict=True)):
            for below, line in enumerate(cell):
                self.set_xy(left, top + below * _LINE)
                self.cell(width, _LINE, line, align="R" if number >= len(widths) - 2 else "L")
            left += width
        self.line(self.l_margin, top + height, left, top + height)
        self.set_xy(self.l_margin, top + height)

    def _lines(self, text: str, width: float) -> list[str]:
        """Wrap a text to the width of its column."""
        if self.get_string_width(text) <= width - 2 * self.c_margin:
            return [text]
        broken: Any = self.multi_cell(width, _LINE, text, dry_run=True, output=MethodReturnValue.LINES)
        return list(broken) or [""]

    def to_bytes(self) -> bytes:
        return bytes(self.output())


def receipt_pdf(receipt: Any, seller: Seller) -> bytes:
    """Return the PDF of a receipt (models.services.ledger.statements.Receipt)."""
    document = PdfDocument(_("Receipt %(number)s", number=receipt.number), seller)
    document.write_pairs(receipt_facts(receipt))
    return document.to_bytes()


def receipt_facts(receipt: Any) -> list[tuple[str, str]]:
    """Return the content of a receipt as pairs, for page and PDF."""
    facts = [
        (_("Date"), moment(receipt.entry.created_at)),
        (_("Time zone"), receipt.user.time_zone or time_zones.DEFAULT),
        (_("Customer"), receipt.user.full_name or receipt.user.email),
        (_("Event"), str(labels.TRANSFER_KINDS[receipt.entry.kind])),
        (_("Comment"), formatting.transfer_description(receipt.entry)),
        (_("Amount"), f"{formatting.amount(receipt.amount)} ZNC"),
    ]
    if receipt.rubles is not None:
        facts.append((_("RUB"), f"{formatting.amount(receipt.rubles)}\u00a0₽"))
    if receipt.payment is not None:
        rate = formatting.price(receipt.payment.rub_per_znc)
        facts += [
            (_("Rate"), f"1 ZNC = {rate}\u00a0₽"),
            (_("Provider"), str(labels.PROVIDERS.get(receipt.payment.provider, receipt.payment.provider))),
            (_("Payment"), str(receipt.payment.id)),
        ]
    return facts


def statement_pdf(statement: Any, lines: Iterable[Any], user: Any, seller: Seller, *, at_most: int) -> bytes:
    """Return the PDF of a monthly statement with its first `at_most` lines."""
    document = PdfDocument(_("Statement %(month)s", month=month(statement.month)), seller)
    document.write_pairs(
        [
            (_("Customer"), user.full_name or user.email),
            (_("Time zone"), user.time_zone or time_zones.DEFAULT),
            (_("Opening balance"), f"{formatting.amount(statement.opening)} ZNC"),
            (_("Received"), f"{formatting.amount(statement.received)} ZNC"),
            (_("Spent"), f"{formatting.amount(statement.spent)} ZNC"),
            (_("Closing balance"), f"{formatting.amount(statement.closing)} ZNC"),
        ]
    )
    document.ln(4)
    rows = (
        (
            moment(line.entry.created_at),
            str(labels.TRANSFER_KINDS[line.entry.kind]),
            formatting.transfer_description(line.entry),
            formatting.amount(line.amount),
            formatting.amount(line.balance),
        )
        for line in islice(lines, at_most)
    )
    head = (_("Time"), _("Event"), _("Comment"), _("Amount"), _("Balance"))
    document.write_table(head, (40, 26, 60, 24, 24), rows)
    if statement.lines > at_most:
        document.ln(4)
        shown, total = format_decimal(at_most), format_decimal(statement.lines)
        document.write_line(
            _(
                "Showing the first %(shown)s of %(total)s lines. The CSV file contains all of them.",
                shown=shown,
                total=total,
            )
        )
    return document.to_bytes()

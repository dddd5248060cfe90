"""Responses that a browser saves as a file: CSV and PDF."""

from collections.abc import Iterable

from flask import Response, stream_with_context


def csv_file(lines: Iterable[str], name: str) -> Response:
    """Stream lines as a CSV file. The byte-order mark at its start tells spreadsheet programs that it is UTF-8."""
    content = stream_with_context(line if number else f"\ufeff{line}" for number, line in enumerate(lines))
    return _attachment(Response(content, mimetype="text/csv"), name)


def pdf_file(content: bytes, name: str) -> Response:
    """Send a PDF document as a file."""
    return _attachment(Response(content, mimetype="application/pdf"), name)


def _attachment(response: Response, name: str) -> Response:
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response

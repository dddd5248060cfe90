"""Page number of a list from the query string."""

from typing import TypedDict

from flask import request

from models.services.pagination import MAX_OFFSET

PER_PAGE = 25


class PageSlice(TypedDict):
    """The part of a list that one page shows."""

    limit: int
    offset: int


def page_slice(name: str = "page") -> PageSlice:
    """Return `limit` and `offset` for the page number in the query; an invalid number is the first page."""
    number = request.args.get(name, 1, type=int)
    return PageSlice(limit=PER_PAGE, offset=min(max(number - 1, 0) * PER_PAGE, MAX_OFFSET))

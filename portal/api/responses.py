"""API responses: models as JSON, and validation errors as 422 (docs/spec/http.md#json-api)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flask import Response, jsonify, request
from flask.json.provider import DefaultJSONProvider
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest

from models.services import messages
from models.services.errors import InvalidInput
from models.services.pagination import Page
from portal.api.schemas.common import Envelope


class Json(DefaultJSONProvider):
    """Flask's way with JSON; what is nested more deeply than Python reads is no JSON for us."""

    def loads(self, s: str | bytes, **more: Any) -> Any:
        """Read a text. Raises ValueError."""
        try:
            return super().loads(s, **more)
        except RecursionError:
            raise ValueError("nested too deeply") from None


class Unfit(Exception):
    """A request that does not fit; `where` names the part of it, as in `("body", "password")`."""

    def __init__(self, where: tuple[str, ...], message: str, kind: str = "value_error", code: str = "") -> None:
        super().__init__(message)
        self.where = where
        self.kind = kind
        self.code = code or kind


def refuse_unreadable_body() -> None:
    """Say of a body that is there and is no JSON that it is none.

    flask-openapi3 takes it for one that is not there, and a purchase that needs no body would be made all the same.
    """
    if not request.get_data():
        return
    if not request.is_json:
        raise Unfit(("body",), "Send JSON, with the header Content-Type: application/json", "json_invalid")
    try:
        request.get_json()
    except BadRequest:
        raise Unfit(("body",), "This is not JSON", "json_invalid") from None


def reply(model: BaseModel, status: int = 200) -> Response:
    """Return a model as JSON."""
    return Response(model.model_dump_json(), status, mimetype="application/json")


def envelope[Row, Item](kind: type[Envelope[Item]], page: Page[Row], write: Callable[[Row], Item]) -> Response:
    """Return a page of rows as `{items, total, limit, offset}`."""
    items = [write(row) for row in page.items]
    return reply(kind(items=items, total=page.total, limit=page.limit, offset=page.offset))


def on_validation_error(error: ValidationError) -> Response:
    """Return what pydantic refused; the model's name says whether it read the path, the query, headers or the body."""
    where = next((word.lower() for word in ("Path", "Query", "Header") if error.title.endswith(word)), "body")
    return faults(
        [
            ((where, *map(str, fault["loc"])), fault["msg"], fault["type"], fault["type"])
            for fault in error.errors(include_input=False)
        ]
    )


def on_unfit(error: Unfit) -> Response:
    """Return what we refused ourselves, in the same shape."""
    return faults([(error.where, str(error), error.kind, error.code)])


def faults(found: Sequence[tuple[Sequence[str], str, str, str]]) -> Response:
    """Return 422 with location, message, type and code of each fault."""
    detail = [{"loc": list(loc), "msg": message, "type": kind, "code": code} for loc, message, kind, code in found]
    response = jsonify(detail=detail, code="invalid_request")
    response.status_code = 422
    return response


@contextmanager
def unfit_body(only: str | None = None, **names: str) -> Iterator[None]:
    """Let a value that a service refuses be a fault of the body; `names` translate the service's words for fields.

    With `only` that is so for one field, and the others are refused in their own way.
    """
    try:
        yield
    except InvalidInput as error:
        if only is not None and error.field != only:
            raise
        raise Unfit(
            ("body", names.get(error.field, error.field)), messages.error_text(error), code=error.code
        ) from error

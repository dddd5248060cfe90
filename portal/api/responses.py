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
    """Flask's JSON provider; nesting deeper than Python can read is a ValueError."""

    def loads(self, s: str | bytes, **more: Any) -> Any:
        """Parse JSON. Raises ValueError."""
        try:
            return super().loads(s, **more)
        except RecursionError:
            raise ValueError("nested too deeply") from None


class InvalidRequest(Exception):
    """A request with an invalid value; `where` is its location, as in `("body", "password")`."""

    def __init__(self, where: tuple[str, ...], message: str, kind: str = "value_error", code: str = "") -> None:
        super().__init__(message)
        self.where = where
        self.kind = kind
        self.code = code or kind


def refuse_unreadable_body() -> None:
    """Refuse a body that is not JSON.

    flask-openapi3 treats it as missing, so that a purchase that needs no body would be made all the same.
    """
    if not request.get_data():
        return
    if not request.is_json:
        raise InvalidRequest(("body",), "Send JSON, with the header Content-Type: application/json", "json_invalid")
    try:
        request.get_json()
    except BadRequest:
        raise InvalidRequest(("body",), "This is not JSON", "json_invalid") from None


def reply(model: BaseModel, status: int = 200) -> Response:
    """Return a model as JSON."""
    return Response(model.model_dump_json(), status, mimetype="application/json")


def envelope[Row, Item](kind: type[Envelope[Item]], page: Page[Row], write: Callable[[Row], Item]) -> Response:
    """Return a page of rows as `{items, total, limit, offset}`."""
    items = [write(row) for row in page.items]
    return reply(kind(items=items, total=page.total, limit=page.limit, offset=page.offset))


def on_validation_error(error: ValidationError) -> Response:
    """Return pydantic's errors as 422; the model's name tells path, query, headers and body apart."""
    where = next((word.lower() for word in ("Path", "Query", "Header") if error.title.endswith(word)), "body")
    return validation_errors(
        [
            ((where, *map(str, fault["loc"])), fault["msg"], fault["type"], fault["type"])
            for fault in error.errors(include_input=False)
        ]
    )


def on_invalid_request(error: InvalidRequest) -> Response:
    """Return an InvalidRequest as 422, in the format of pydantic's errors."""
    return validation_errors([(error.where, str(error), error.kind, error.code)])


def validation_errors(found: Sequence[tuple[Sequence[str], str, str, str]]) -> Response:
    """Return 422 with location, message, type and code of each error."""
    detail = [{"loc": list(loc), "msg": message, "type": kind, "code": code} for loc, message, kind, code in found]
    response = jsonify(detail=detail, code="invalid_request")
    response.status_code = 422
    return response


@contextmanager
def body_errors(only: str | None = None, **names: str) -> Iterator[None]:
    """Report InvalidInput from a service as a 422 of the body; `names` maps the service's fields to those of the body.

    With `only`, errors of other fields are raised unchanged.
    """
    try:
        yield
    except InvalidInput as error:
        if only is not None and error.field != only:
            raise
        raise InvalidRequest(
            ("body", names.get(error.field, error.field)), messages.error_text(error), code=error.code
        ) from error

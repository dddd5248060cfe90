"""Shared schema parts: money, times, texts, pagination and errors."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from models.services import text_validation
from models.services.ledger import money
from models.services.pagination import MAX_LIMIT, MAX_OFFSET
from portal.template_filters import iso


def fit(text: str) -> str:
    """Return a text without control characters. Raises ValueError."""
    if not text_validation.is_printable(text):
        raise ValueError("must not hold control characters")
    return text


def plain(amount: object) -> object:
    """Return an amount that is a number, or a text in plain decimal notation. Raises ValueError."""
    if isinstance(amount, bool):
        raise ValueError("must be a number, or a number as a string")
    if isinstance(amount, str) and not money.is_plain_decimal(amount):
        raise ValueError("write an amount like 50 or 12.34, with at most two digits after the point")
    return amount


def whole(number: object) -> object:
    """Return an integral float as an integer: JSON has one kind of number, and 24.0 is 24 in it (RFC 8259, sec. 6)."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


# Money is a decimal with two places, written as a string, so that no client reads it into a float.
Money = Annotated[
    Decimal,
    PlainSerializer(lambda amount: f"{amount:.2f}", return_type=str),
    Field(json_schema_extra={"pattern": r"^-?\d+\.\d{2}$"}),
]
# Money as a client sends it: a string or a number, above zero, in whole cents.
Amount = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=2, strict=False), BeforeValidator(plain)]
Hours = Annotated[int, Field(gt=0, le=1_000_000), BeforeValidator(whole)]
Time = Annotated[datetime, PlainSerializer(iso, return_type=str), Field(json_schema_extra={"format": "date-time"})]
Text = Annotated[str, AfterValidator(fit)]


class Schema(BaseModel):
    """Base of all schemas: reads attributes of rows and ignores unknown fields."""

    model_config = ConfigDict(from_attributes=True, extra="ignore")


class Body(Schema):
    """Base of JSON request bodies: values must have the documented type.

    Pydantic would otherwise read `true` as the number 1, `0` as false and `"24"` as 24.
    """

    model_config = ConfigDict(strict=True)


class Window(Schema):
    """Page of a list."""

    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="Maximum number of items, 1 to 100.")
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="Number of newest items to skip.")


class Envelope[Item](Schema):
    """A page of a list, newest first; `total` counts the whole list."""

    items: list[Item]
    total: int
    limit: int
    offset: int


class Problem(Schema):
    """An error: `detail` is for people and may change, `code` is for programs and stays."""

    detail: str
    code: str
    request_id: str | None = None


class Fault(Schema):
    """One value of a request that is not valid: its location, a message for people, and a code for programs."""

    loc: list[str | int]
    msg: str
    type: str
    code: str


class Faults(Schema):
    """A request that does not match its schema."""

    detail: list[Fault]
    code: str

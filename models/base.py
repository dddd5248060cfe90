"""Common base of all tables: metadata with naming convention, typed column shorthands."""

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from sqlalchemy import DateTime, Enum, MetaData, Numeric, String, Uuid, text
from sqlalchemy.orm import DeclarativeBase, mapped_column

# Named constraints, so that a migration can drop those of another one.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

UuidKey = Annotated[uuid.UUID, mapped_column(Uuid, primary_key=True, default=uuid.uuid4)]
Moment = Annotated[datetime, mapped_column(DateTime(timezone=True))]
CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=text("now()"))]
Znc = Annotated[Decimal, mapped_column(Numeric(18, 2))]
Short = Annotated[str, mapped_column(String(64))]


class Base(DeclarativeBase):
    """The base class of every table."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012 - SQLAlchemy's own attribute


def enum_column(kind: type[StrEnum], length: int = 32) -> Enum:
    """Return a column type that stores the enum's value as text, so that a new value needs no ALTER TYPE."""

    def values(members: Any) -> list[str]:
        return [member.value for member in members]

    return Enum(kind, native_enum=False, length=length, values_callable=values, validate_strings=True)

"""Settings changed at run time, over config.toml: every change with actor and reason. The newest of a key counts."""

import uuid
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, Short
from models.users import User


class SettingChange(Base):
    """`key` is "section.field"; without a value, the one of config.toml applies again."""

    __tablename__ = "setting_changes"
    __table_args__ = (Index("ix_setting_changes_key_id", "key", text("id DESC")),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    key: Mapped[Short]
    value: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    actor_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    reason: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[CreatedAt]

    actor: Mapped[User | None] = relationship()

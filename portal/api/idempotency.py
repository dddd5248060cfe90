"""Idempotency-Key: carry out a POST once and repeat its response."""

from collections.abc import Callable

from flask import Response, request
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from models.services import idempotency, messages
from models.services.crypto.encryption import DecryptionError
from models.services.errors import IdempotencyKeyReused
from models.services.idempotency import StoredReply
from portal.api import authentication
from portal.api.responses import InvalidRequest
from portal.api.schemas.common import Schema, Text
from portal.request import context
from portal.request.error_pages import ApiError


class OnceHeader(Schema):
    """The header that makes a request safe to repeat."""

    key: Text | None = Field(
        None,
        alias="Idempotency-Key",
        min_length=1,
        max_length=idempotency.LONGEST_KEY,
        description="Your id of this request, such as a UUID; repeated within 24 hours, it gets the same response.",
    )


def once(
    header: OnceHeader, body: BaseModel | None, work: Callable[[Session], BaseModel], *, status: int = 200
) -> Response:
    """Run `work` in a transaction and respond with its result, or with the stored result of this key."""
    with context.transaction() as session:
        if header.key is None:
            return _reply(StoredReply(status, work(session).model_dump_json()))
        content = body.model_dump_json() if body else ""
        asked = f"{request.method} {request.full_path}\n{content}".encode()
        try:
            claimed = idempotency.claim(session, authentication.user(), header.key, asked, context.settings())
        except IdempotencyKeyReused as error:
            raise InvalidRequest(
                ("header", "Idempotency-Key"), messages.error_text(error), "key_reused", error.code
            ) from None
        except DecryptionError:
            # The portal's secret key was replaced since; the request is not repeated all the same.
            raise ApiError(409, "reply_unreadable") from None
        if isinstance(claimed, StoredReply):
            return _reply(claimed, replayed=True)
        made = StoredReply(status, work(session).model_dump_json())
        idempotency.store_reply(session, claimed, made, context.settings())
        return _reply(made)


def _reply(kept: StoredReply, *, replayed: bool = False) -> Response:
    response = Response(kept.body, kept.status, mimetype="application/json")
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response

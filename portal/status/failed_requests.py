"""Failed requests of the portal, stored for a while so that an admin can look them up by request id."""

import logging
import time
from typing import cast

from flask import Flask, Response, g, request
from redis.exceptions import RedisError

from models.services.monitoring import failed_requests
from models.services.monitoring.failed_requests import FailedRequest
from portal.status import recent_requests

logger = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Store every error response."""
    app.after_request(_store_failed_request)


def find(request_id: str) -> FailedRequest | None:
    """Return a failed request; None when it did not fail, has expired, or Redis is down."""
    if not failed_requests.REQUEST_ID.fullmatch(request_id):
        return None
    try:
        return failed_requests.decode(
            cast(bytes | None, recent_requests.redis().hget(failed_requests.ASKED_KEY, request_id))
        )
    except RedisError as error:
        logger.warning("cannot look up a failed request: %s", type(error).__name__)
        return None


def _store_failed_request(response: Response) -> Response:
    if response.status_code >= 400 and request.endpoint != "static" and "request_id" in g:
        request_id, line = g.request_id, failed_requests.encode(_describe(response))
        connection = recent_requests.redis()

        def write() -> None:
            try:
                connection.eval(
                    failed_requests.ADD, 2, failed_requests.ASKED_KEY, failed_requests.ORDER_KEY, request_id, line
                )
            except RedisError as error:
                logger.warning("cannot store the failed request %s: %s", request_id, type(error).__name__)

        # After the response is sent, so that the client does not wait.
        response.call_on_close(write)
    return response


def _describe(response: Response) -> FailedRequest:
    return FailedRequest(
        at=round(time.time(), 3),
        side="portal",
        method=request.method,
        path=failed_requests.redacted_path(request.path),
        status=response.status_code,
        code=g.get("refused", ""),
        user_id=g.get("whose"),
        address=request.remote_addr or "",
    )

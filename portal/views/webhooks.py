"""Callbacks of payment providers: verify, store, answer. A job settles."""

from collections.abc import Mapping
from typing import cast

from flask import Blueprint, Response, jsonify, request

from models import clock
from models.services import payments, providers
from portal import current

blueprint = Blueprint("webhooks", __name__, url_prefix="/api/v1/webhooks")

# Real callbacks have a few kilobytes.
LARGEST_CALLBACK = 64 * 1024


@blueprint.post("/payment", defaults={"provider": "mock"})
@blueprint.post("/payment/<provider>")
def receive(provider: str) -> Response:
    """Keep a callback whose signature is right, once; `processed` is false for one that was here before.

    CallbackRefused becomes 400 and changes nothing, NotFound (a provider that is not switched on) becomes 404.
    """
    request.max_content_length = LARGEST_CALLBACK
    headers = cast(Mapping[str, str], request.headers)
    event = providers.get(provider, current.settings()).verify(headers, request.get_data(), clock.now())
    with current.transaction() as session:
        stored = payments.store_event(session, provider, event)
    if stored is not None:
        current.later("jobs.payments.settle", str(stored))
    return jsonify(received=True, processed=stored is not None)

"""Callbacks of payment providers: verify, store, answer. A job settles."""

from collections.abc import Mapping
from typing import cast

from flask import Blueprint, Response, jsonify, request

from models import clock
from models.services import callbacks, providers
from models.services.providers import Ask, Callback
from portal import current

blueprint = Blueprint("webhooks", __name__, url_prefix="/api/v1/webhooks")

# Real callbacks have a few kilobytes.
LARGEST_CALLBACK = 64 * 1024


@blueprint.post("/payment", defaults={"provider": "mock"})
@blueprint.post("/payment/<provider>")
def receive(provider: str) -> Response:
    """Keep a callback that its provider has signed, once; `processed` is false for one that was here before.

    One of a provider that does not sign only makes a job ask that provider. CallbackRefused becomes 400 and changes
    nothing, NotFound (a provider that is not switched on) becomes 404.
    """
    request.max_content_length = LARGEST_CALLBACK
    headers = cast(Mapping[str, str], request.headers)
    callback = Callback(headers, request.get_data(), clock.now(), request.remote_addr or "")
    word = providers.get(provider, current.settings()).verify(callback)
    if word is None:
        return jsonify(received=True, processed=False)
    if isinstance(word, Ask):
        payment_id = callbacks.asked_about(current.session(), provider, word)
        if payment_id is None:
            return jsonify(received=True, processed=False)
        # Only payments that are undecided are asked about by themselves: that one was refunded nobody else would say.
        current.now_or_never("jobs.payments.ask", str(payment_id))
        return jsonify(received=True, processed=False)
    with current.transaction() as session:
        stored = callbacks.store_event(session, provider, word)
    if stored is not None:
        current.later("jobs.payments.settle", str(stored))
    return jsonify(received=True, processed=stored is not None)

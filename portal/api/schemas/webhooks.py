"""Schemas of responses to payment callbacks."""

from portal.api.schemas.common import Schema


class Received(Schema):
    """A callback was received; `processed` is false for a repeated one, or when the provider is queried instead."""

    received: bool
    processed: bool

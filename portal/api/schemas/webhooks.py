"""What providers are answered."""

from portal.api.schemas.common import Schema


class Received(Schema):
    """A callback was taken; `processed` is false for one that was here before, or that only made us ask."""

    received: bool
    processed: bool

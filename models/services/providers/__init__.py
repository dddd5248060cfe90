"""Payment providers behind one small interface; `get` finds the one that a payment names."""

from models.config import Settings
from models.services.errors import NotFound
from models.services.providers.base import Event, Provider
from models.services.providers.mock import MockProvider

__all__ = ["Event", "Provider", "get"]


def get(name: str, settings: Settings) -> Provider:
    """Return the provider if it is switched on; NotFound otherwise."""
    if name not in settings.payments.providers:
        raise NotFound("payment provider")
    return MockProvider(settings)

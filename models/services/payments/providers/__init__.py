"""Payment providers behind one interface, by name."""

from importlib import import_module
from typing import cast

from models.config.settings import Settings
from models.services.errors import NotFound
from models.services.payments.providers.base import Callback, Event, Provider, Refund, StatusHint

__all__ = ["Callback", "Event", "Provider", "Refund", "StatusHint", "get", "known", "preload"]

# Modules of this package, imported at their first use: the libraries of Stripe and YooKassa are large.
_CLASSES = {
    "mock": ("mock", "MockProvider"),
    "stripe": ("stripe_checkout", "StripeCheckout"),
    "yookassa": ("yookassa_redirect", "YooKassaRedirect"),
}


def get(name: str, settings: Settings) -> Provider:
    """Return a provider that is enabled for new payments. Raises NotFound."""
    if name not in settings.payments.providers:
        raise NotFound("payment_provider")
    return _create(name, settings)


def known(name: str, settings: Settings) -> Provider:
    """Return a provider with configured keys, also a retired one. Raises NotFound."""
    if name not in settings.payments.known:
        raise NotFound("payment_provider")
    return _create(name, settings)


def preload(settings: Settings) -> None:
    """Import the modules of the configured providers, so that no user waits for it."""
    for name in settings.payments.known:
        import_module(f"{__name__}.{_CLASSES[name][0]}")


def _create(name: str, settings: Settings) -> Provider:
    module, class_name = _CLASSES[name]
    return cast(Provider, getattr(import_module(f"{__name__}.{module}"), class_name)(settings))

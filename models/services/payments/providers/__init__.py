"""Payment providers behind one interface, by name."""

from models.config.settings import Settings
from models.services.errors import NotFound
from models.services.payments.providers.base import Callback, Event, Provider, Refund, StatusHint
from models.services.payments.providers.mock import MockProvider
from models.services.payments.providers.stripe_checkout import StripeCheckout
from models.services.payments.providers.yookassa_redirect import YooKassaRedirect

__all__ = ["Callback", "Event", "Provider", "Refund", "StatusHint", "get", "known"]

_PROVIDERS: dict[str, type[MockProvider | StripeCheckout | YooKassaRedirect]] = {
    "mock": MockProvider,
    "stripe": StripeCheckout,
    "yookassa": YooKassaRedirect,
}


def get(name: str, settings: Settings) -> Provider:
    """Return a provider that is enabled for new payments. Raises NotFound."""
    if name not in settings.payments.providers:
        raise NotFound("payment_provider")
    return _PROVIDERS[name](settings)


def known(name: str, settings: Settings) -> Provider:
    """Return a provider with configured keys, also a retired one. Raises NotFound."""
    if name not in settings.payments.known:
        raise NotFound("payment_provider")
    return _PROVIDERS[name](settings)

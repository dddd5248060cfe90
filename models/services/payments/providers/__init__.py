"""Payment providers behind one small interface; `get` finds the one that a payment names."""

from models.config.settings import Settings
from models.services.errors import NotFound
from models.services.payments.providers.base import Ask, Callback, Event, Provider, Refund
from models.services.payments.providers.mock import MockProvider
from models.services.payments.providers.stripe_checkout import StripeCheckout
from models.services.payments.providers.yookassa_redirect import YooKassaRedirect

__all__ = ["Ask", "Callback", "Event", "Provider", "Refund", "get", "known"]

_PROVIDERS: dict[str, type[MockProvider | StripeCheckout | YooKassaRedirect]] = {
    "mock": MockProvider,
    "stripe": StripeCheckout,
    "yookassa": YooKassaRedirect,
}


def get(name: str, settings: Settings) -> Provider:
    """Return a provider that something new can be paid through; NotFound for any other."""
    if name not in settings.payments.providers:
        raise NotFound("payment_provider")
    return _PROVIDERS[name](settings)


def known(name: str, settings: Settings) -> Provider:
    """Return a provider that has something to report, also a retired one; NotFound for one without its keys."""
    if name not in settings.payments.known:
        raise NotFound("payment_provider")
    return _PROVIDERS[name](settings)

"""The smallest and the largest top-up that a payment provider takes."""

from decimal import ROUND_DOWN, ROUND_UP, Decimal

from models.config.settings import Settings
from models.services.errors import AmountOutOfBounds
from models.services.ledger.money import CENT, LARGEST


def bounds_znc(provider: str, settings: Settings) -> tuple[Decimal, Decimal]:
    """Return the smallest and the largest amount in ZNC whose rubles the provider takes."""
    rules, rate = settings.payments, settings.prices.rub_per_znc
    least = next((limit for name, limit in rules.minimum_rub.items() if name == provider), CENT)
    most = next((limit for name, limit in rules.maximum_rub.items() if name == provider), LARGEST)
    largest = min((most / rate).quantize(CENT, ROUND_DOWN), settings.limits.topup_max_znc)
    return max((least / rate).quantize(CENT, ROUND_UP), CENT), largest


def check(provider: str, amount_znc: Decimal, settings: Settings) -> None:
    """Raise AmountOutOfBounds for an amount that the provider would refuse."""
    least, most = bounds_znc(provider, settings)
    if not least <= amount_znc <= most:
        raise AmountOutOfBounds("amount", least, most)

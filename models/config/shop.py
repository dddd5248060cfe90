"""Settings sections: prices, refunds, pauses, debts, renewal, outage credit, referrals, payments, seller."""

from collections.abc import Mapping
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from models.config.server import Section
from models.config.types import Money, Network, Origin, Positive, Secret

# More than a hundred years: a longer token, once extended, would end after the last possible date.
LONGEST_HOURS = 1_000_000


class Prices(Section):
    znc: Mapping[Annotated[int, Field(gt=0, le=LONGEST_HOURS)], Money] = Field(min_length=1)
    rub_per_znc: Money = Decimal(10)


class Refund(Section):
    used_time_rate: Literal["prorata", "list"] = "prorata"
    bundle_rate: Literal["share", "list"] = "share"


class Pause(Section):
    at_least_minutes: Positive = 10
    at_most: Annotated[int, Field(ge=0)] = 5
    in_all_days: Positive = 30


class Debt(Section):
    pause_tokens: bool = True


class Renewal(Section):
    claim_seconds: Positive = 300
    tell_hours: Positive = 24
    in_outage: Literal["wait", "renew"] = "wait"


class OutageCredit(Section):
    at_least_seconds: Positive = 60
    at_most_hours: Positive = 168


class Referral(Section):
    from_znc: Money = Decimal(100)
    percent: Annotated[Decimal, Field(ge=0, le=50)] = Decimal(10)


# YooKassa's published callback networks (its documentation, "Webhooks").
YOOKASSA_NETWORKS = (
    IPv4Network("77.75.153.0/25"),
    IPv4Network("77.75.154.128/25"),
    IPv4Network("77.75.156.11/32"),
    IPv4Network("77.75.156.35/32"),
    IPv4Network("185.71.76.0/27"),
    IPv4Network("185.71.77.0/27"),
    IPv6Network("2a02:5180::/32"),
)


ProviderName = Literal["mock", "stripe", "yookassa"]
# Stripe accepts the equivalent of half a dollar at least and eight digits of kopecks at most
# (docs.stripe.com/currencies, "Minimum and maximum charge amounts"); YooKassa 1 RUB at least, and most bank cards
# 350,000 at most.
MINIMUM_RUB: Mapping[ProviderName, Decimal] = {"stripe": Decimal(50), "yookassa": Decimal(1)}
MAXIMUM_RUB: Mapping[ProviderName, Decimal] = {"stripe": Decimal("999999.99"), "yookassa": Decimal(350000)}


class Payments(Section):
    """Each real provider is enabled by its two settings, unless it is `retired`.

    A retired provider's callbacks are still accepted, and its old payments are settled, queried and refunded.
    """

    providers: tuple[ProviderName, ...] = ("mock",)
    pending_minutes: Positive = 60
    minimum_rub: Mapping[ProviderName, Money] = MINIMUM_RUB
    maximum_rub: Mapping[ProviderName, Money] = MAXIMUM_RUB
    callback_tolerance_seconds: Positive = 300
    recheck_days: Positive = 180
    retired: tuple[ProviderName, ...] = ()
    return_origins: tuple[Origin, ...] = ()
    mock_signing_key: Secret | None = None
    stripe_secret_key: Secret | None = None
    stripe_webhook_secret: Secret | None = None
    stripe_api: Origin = "https://api.stripe.com"
    yookassa_shop_id: str = ""
    yookassa_secret_key: Secret | None = None
    yookassa_api: Origin = "https://api.yookassa.ru"
    yookassa_networks: tuple[Network, ...] = YOOKASSA_NETWORKS

    @model_validator(mode="before")
    @classmethod
    def _settings_switch_providers_on(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        on, retired = list(given.get("providers", ("mock",))), given.get("retired", ())
        for name, needed in _SETTINGS_OF.items():
            there = [key for key in needed if given.get(key)]
            if there and len(there) < len(needed):
                missing = next(key for key in needed if key not in there)
                raise ValueError(f"{missing} is required beside {there[0]}")
            if there and name not in on and name not in retired:
                on.append(name)
        return {**given, "providers": on}

    @model_validator(mode="after")
    def _providers_are_set_up(self) -> Self:
        if twice := next((name for name in self.providers if name in self.retired), None):
            raise ValueError(f"{twice} cannot be on and retired")
        if "mock" in self.known and self.mock_signing_key is None:
            raise ValueError("mock_signing_key is required while the mock provider is on")
        for name, needed in _SETTINGS_OF.items():
            if name in self.known and not getattr(self, needed[0]):
                raise ValueError(f"{needed[0]} is required while {name} is on")
        return self

    @property
    def known(self) -> tuple[str, ...]:
        """The providers whose callbacks are accepted: the enabled and the retired ones."""
        return (*self.providers, *self.retired)


_SETTINGS_OF = {
    "stripe": ("stripe_secret_key", "stripe_webhook_secret"),
    "yookassa": ("yookassa_shop_id", "yookassa_secret_key"),
}


class Seller(Section):
    """The seller named on receipts, and the support contact."""

    name: str = "Zenzefi Proxy Platform"
    address: str = ""
    tax_id: str = ""
    contact: str = ""

"""An installation with both real providers, against fake servers on loopback."""

from collections.abc import Iterator

import pytest
from flask import Flask

from models.config import settings as config
from models.config.settings import Settings
from portal import create_app
from tests.portal.conftest import app, queued  # noqa: F401 - fixtures
from tests.providers.fake_stripe import WEBHOOK_SECRET, StripeFarSide
from tests.providers.fake_yookassa import YooKassaFarSide


@pytest.fixture
def stripe_side() -> Iterator[StripeFarSide]:
    side = StripeFarSide()
    with side.running():
        yield side


@pytest.fixture
def yookassa_side() -> Iterator[YooKassaFarSide]:
    side = YooKassaFarSide()
    with side.running():
        yield side


@pytest.fixture
def shop(
    settings: Settings, environment: dict[str, str], stripe_side: StripeFarSide, yookassa_side: YooKassaFarSide
) -> Settings:
    """Settings with both providers enabled."""
    more = {
        "ZENZEFI_PAYMENTS__STRIPE_SECRET_KEY": "sk_test_a_key_that_only_tests_use",
        "ZENZEFI_PAYMENTS__STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "ZENZEFI_PAYMENTS__STRIPE_API": stripe_side.address,
        "ZENZEFI_PAYMENTS__YOOKASSA_SHOP_ID": "100500",
        "ZENZEFI_PAYMENTS__YOOKASSA_SECRET_KEY": "a yookassa key that only tests use",
        "ZENZEFI_PAYMENTS__YOOKASSA_API": yookassa_side.address,
    }
    return config.load_settings({**environment, **more, "DATABASE_URL": settings.database.url})


@pytest.fixture
def made_app(shop: Settings) -> Flask:
    """A portal with all providers; `app` puts it on the test's transaction."""
    return create_app(shop)

"""Settings are read once, checked at start, and errors name key and value, but never a secret's value."""

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from models.config import settings as config
from models.config.settings import ConfigError
from tests.conftest import SECRETS

NEEDED = {**SECRETS, "DATABASE_URL": "postgresql://shop@db/zenzefi", "REDIS_URL": "redis://cache/0"}
PRODUCTION = {
    "ZENZEFI_PLATFORM__ENVIRONMENT": "production",
    "ZENZEFI_PAYMENTS__PROVIDERS": "[]",
    "ZENZEFI_PORTAL__PUBLIC_URL": "https://shop.example.test",
    "ZENZEFI_PROXY__PUBLIC_URL": "https://proxy.example.test",
    "ZENZEFI_UPSTREAM__URL": "https://upstream.example.test",
}


def load(**changes: str) -> config.Settings:
    """Read the settings with some variables changed."""
    return config.load_settings({**NEEDED, **changes})


def complaint(**changes: str) -> str:
    """Return the error message."""
    with pytest.raises(ConfigError) as caught:
        load(**changes)
    return str(caught.value)


def test_the_shipped_file_needs_only_addresses_and_secrets() -> None:
    settings = load()
    assert settings.prices.znc == {1: 1, 12: 10, 24: 18, 168: 100, 720: 300}
    assert settings.portal.address == "http://127.0.0.1:8000"
    assert set(settings.scopes) == {"full", "certificates_only"}


def test_the_environment_overrides_the_file() -> None:
    assert load(ZENZEFI_PORTAL__PORT="9000").portal.port == 9000
    assert load(ZENZEFI_PRICES__ZNC='{"1": "2.50"}').prices.znc[1] == Decimal("2.50")


def test_a_setting_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("  a key that stands in a file\n")
    settings = config.load_settings(
        {
            **{name: value for name, value in NEEDED.items() if name != "ZENZEFI_PORTAL__SECRET_KEY"},
            "ZENZEFI_PORTAL__SECRET_KEY_FILE": str(secret),
        }
    )
    assert settings.portal.secret_key.get_secret_value() == "a key that stands in a file"


def test_a_variable_wins_over_a_file_of_the_same_key(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("7000")
    assert load(ZENZEFI_PORTAL__PORT="7001", ZENZEFI_PORTAL__PORT_FILE=str(tmp_path / "port")).portal.port == 7001


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    assert "ZENZEFI_PORTAL__SECRET_KEY_FILE: cannot read" in complaint(ZENZEFI_PORTAL__SECRET_KEY_FILE=gone)


def test_ca_file_is_a_key_of_its_own_and_no_reference() -> None:
    assert load(ZENZEFI_UPSTREAM__CA_FILE="/nowhere/ca.pem").upstream.ca_file == "/nowhere/ca.pem"


def test_short_names_stand_for_the_long_ones_and_the_long_ones_win() -> None:
    assert load().database.url == "postgresql+psycopg2://shop@db/zenzefi"
    assert load().redis.url == "redis://cache/0"
    assert load(ZENZEFI_REDIS__URL="unix:///run/redis.sock").redis.url == "unix:///run/redis.sock"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_usual_way_to_write_a_postgresql_address_names_our_driver(scheme: str) -> None:
    assert load(DATABASE_URL=f"{scheme}://db/x").database.url == "postgresql+psycopg2://db/x"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ZENZEFI_NOWHERE__KEY": "1"}, "ZENZEFI_NOWHERE__KEY: there is no section 'nowhere'"),
        ({"ZENZEFI_PORTAL__PROT": "1"}, "portal.prot: Extra inputs are not permitted"),
        ({"ZENZEFI_PORTAL__PORT": "http"}, "portal.port: "),
        ({"ZENZEFI_PORTAL__PORT": "http"}, "(it is 'http')"),
        ({"ZENZEFI_PORTAL__PORT": "0"}, "portal.port: "),
        ({"ZENZEFI_PORTAL__PORT": "65536"}, "(it is '65536')"),
        ({"ZENZEFI_SESSIONS__DEVICE_POLICY": "perhaps"}, "(it is 'perhaps')"),
        ({"ZENZEFI_PLATFORM__TIME_ZONE": "Europe/Nowhere"}, "platform.time_zone: "),
        ({"ZENZEFI_PRICES__ZNC": "cheap"}, "prices"),
        ({"ZENZEFI_PRICES__ZNC": '{"1": "NaN"}'}, "prices.znc.1: "),
        ({"ZENZEFI_PRICES__ZNC": '{"1": "0"}'}, "prices.znc.1: "),
        ({"ZENZEFI_PRICES__ZNC": '{"1": "0.001"}'}, "prices.znc.1: "),
        ({"ZENZEFI_PRICES__ZNC": '{"0": "1"}'}, "prices.znc.0"),
        ({"ZENZEFI_PORTAL__PUBLIC_URL": "shop.example.test"}, "portal.public_url: must be http://"),
        ({"ZENZEFI_PORTAL__PUBLIC_URL": "https://shop.test/path"}, "portal.public_url: must be http://"),
        ({"ZENZEFI_PORTAL__PUBLIC_URL": "https://shop.test#here"}, "portal.public_url: must be http://"),
        ({"ZENZEFI_PORTAL__PUBLIC_URL": "https://shop.test:port"}, "portal.public_url: "),
        ({"ZENZEFI_CONFIG": "/nowhere/config.toml"}, "ZENZEFI_CONFIG: no such file: /nowhere/config.toml"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_its_value(changes: dict[str, str], said: str) -> None:
    assert said in complaint(**changes)


@pytest.mark.parametrize("given", ["https://shop.test", "https://shop.test/", "https://shop.test?"])
def test_an_origin_is_kept_without_a_trailing_slash(given: str) -> None:
    assert load(ZENZEFI_PORTAL__PUBLIC_URL=given).portal.address == "https://shop.test"


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "config.toml"
    broken.write_text("[portal")
    assert f"{broken}: is not valid TOML" in complaint(ZENZEFI_CONFIG=str(broken))


@pytest.mark.parametrize("name", [*SECRETS, "DATABASE_URL", "REDIS_URL"])
def test_a_missing_required_setting_is_named(name: str) -> None:
    key = {"DATABASE_URL": "database.url", "REDIS_URL": "redis.url"}.get(name)
    key = key or name.removeprefix("ZENZEFI_").replace("__", ".").lower()
    with pytest.raises(ConfigError) as caught:
        config.load_settings({other: value for other, value in NEEDED.items() if other != name})
    assert key in str(caught.value).replace("payments: ", "payments.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ZENZEFI_PORTAL__SECRET_KEY", "sesame"),
        ("ZENZEFI_TOKENS__HASH_KEY", "sesame"),
        ("ZENZEFI_TOKENS__MAC_KEYS", "a long enough old mac key,sesame"),
        ("ZENZEFI_TOKENS__MAC_KEYS", ",,,,,,,,,,,,,,,,,,,,"),
        ("ZENZEFI_PAYMENTS__MOCK_SIGNING_KEY", "sesame"),
        ("ZENZEFI_ADMIN__PASSWORD", "sesame"),
        ("DATABASE_URL", "mysql://root:sesame@db/x"),
        ("REDIS_URL", "http://:sesame@cache"),
        ("ZENZEFI_MAIL__SMTP_PASWORD", "sesame"),
        ("ZENZEFI_PAYMENTS__MOCK_SIGNING", "sesame"),
    ],
)
def test_a_wrong_secret_is_named_without_its_value(name: str, value: str) -> None:
    said = complaint(**{name: value})
    assert "sesame" not in said
    assert ",,," not in said
    assert any(word in said for word in ("secret", "key", "password", "url", "smtp_pasword", "mock_signing"))


def test_secrets_are_not_shown_by_repr() -> None:
    settings = load(DATABASE_URL="postgresql://shop:sesame@db/x", REDIS_URL="redis://:sesame@cache")
    shown = repr(settings)
    assert "sesame" not in shown
    assert not any(secret in shown for secret in SECRETS.values())


def test_mac_keys_are_split_newest_first() -> None:
    keys = load(ZENZEFI_TOKENS__MAC_KEYS="the newest of the keys, an old key of last year").tokens.macs
    assert keys == (b"the newest of the keys", b"an old key of last year")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().portal.port = 1  # type: ignore[misc]


def test_production_accepts_valid_settings() -> None:
    assert load(**PRODUCTION).platform.is_production


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ZENZEFI_PAYMENTS__PROVIDERS": '["mock"]'}, "the mock provider must be off"),
        ({"ZENZEFI_PORTAL__PUBLIC_URL": ""}, "must be https://"),
        ({"ZENZEFI_PROXY__PUBLIC_URL": "http://proxy.example.test"}, "must be https://"),
        ({"ZENZEFI_PROXY__PUBLIC_URL": "https://SHOP.example.test:8443"}, "must have separate host names"),
        ({"ZENZEFI_UPSTREAM__URL": ""}, "upstream.url: is required"),
    ],
)
def test_production_refuses_what_only_serves_development(changes: dict[str, str], said: str) -> None:
    assert said in complaint(**{**PRODUCTION, **changes})


def test_a_mock_provider_needs_its_key_and_none_is_needed_without_it() -> None:
    without = {name: value for name, value in NEEDED.items() if "MOCK" not in name}
    assert config.load_settings({**without, "ZENZEFI_PAYMENTS__PROVIDERS": "[]"}).payments.mock_signing_key is None

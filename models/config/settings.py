"""Settings: config.toml, overridden by environment variables and secret files, read once into frozen objects."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from models.config.operations import Admin, Audit, Backup, Inspection, Mail, Notices, Webhooks
from models.config.server import (
    Database,
    Limits,
    Maintenance,
    Platform,
    Portal,
    Proxy,
    Redis,
    Sessions,
    Tokens,
    Upstream,
)
from models.config.shop import Debt, OutageCredit, Pause, Payments, Prices, Referral, Refund, Renewal, Seller

PREFIX = "ZENZEFI_"
SHORT_NAMES = {"DATABASE_URL": f"{PREFIX}DATABASE__URL", "REDIS_URL": f"{PREFIX}REDIS__URL"}
# The values of these keys are never printed; a database URL may contain a password. Nor are values of unknown keys: one
# may be a secret under a misspelt name.
SECRET_KEY = re.compile(r"key|password|secret|database\.(listen_)?url|redis\.url")
DEFAULT_FILE = Path(__file__).resolve().parents[2] / "config.toml"


class ConfigError(Exception):
    """A setting is missing or wrong; the message names key and value."""


class Settings(BaseSettings):
    """All settings; one frozen object for the lifetime of a process."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__")

    platform: Platform = Platform()
    database: Database
    redis: Redis
    portal: Portal
    proxy: Proxy = Proxy()
    upstream: Upstream = Upstream()
    tokens: Tokens
    prices: Prices
    refund: Refund = Refund()
    pause: Pause = Pause()
    debt: Debt = Debt()
    renewal: Renewal = Renewal()
    outage_credit: OutageCredit = OutageCredit()
    referral: Referral = Referral()
    limits: Limits = Limits()
    sessions: Sessions = Sessions()
    maintenance: Maintenance = Maintenance()
    payments: Payments
    seller: Seller = Seller()
    mail: Mail = Mail()
    notices: Notices = Notices()
    webhooks: Webhooks = Webhooks()
    audit: Audit = Audit()
    inspection: Inspection = Inspection()
    backup: Backup = Backup()
    admin: Admin = Admin()
    scopes: Mapping[str, tuple[str, ...]]

    @property
    def admin_two_factor(self) -> bool:
        """Whether admins need a second factor; in production they do unless configured otherwise."""
        needed = self.portal.admin_two_factor
        return self.platform.is_production if needed is None else needed

    @model_validator(mode="after")
    def _production_refuses_what_only_serves_development(self) -> Self:
        if not self.platform.is_production:
            return self
        if "mock" in self.payments.known:
            raise ValueError("payments.providers: the mock provider must be off in production")
        portal, proxy = urlsplit(self.portal.address), urlsplit(self.proxy.address)
        if portal.scheme != "https" or proxy.scheme != "https":
            raise ValueError("portal.public_url and proxy.public_url: must be https:// in production")
        if portal.hostname == proxy.hostname:
            raise ValueError("portal.public_url and proxy.public_url: must have separate host names in production")
        if self.webhooks.allow_private:
            raise ValueError("webhooks.allow_private: must be off in production")
        if not self.upstream.url:
            raise ValueError("upstream.url: is required in production")
        return self

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # the sources that are not used come by keyword
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings' own
        init_settings: PydanticBaseSettingsSource,
        **_unused: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use the sources built by `load_settings`, so that a test needs no real environment."""
        assert isinstance(init_settings, InitSettingsSource)  # noqa: S101 - for the type checker
        sources: tuple[PydanticBaseSettingsSource, ...] = init_settings.init_kwargs["sources"]
        return sources


class _Environment(EnvSettingsSource):
    """Environment variables from a mapping, with short names and *_FILE references already resolved."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = {name.lower(): value for name, value in variables.items()}
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._variables


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of this process.

    Raises ConfigError that names every wrong key with its value (secret values excepted).
    """
    path = Path(environ.get(f"{PREFIX}CONFIG", DEFAULT_FILE))
    if not path.is_file():
        raise ConfigError(f"{PREFIX}CONFIG: no such file: {path}")
    try:
        sources = (_Environment(_resolved(environ)), TomlConfigSettingsSource(Settings, path))
        return Settings(sources=sources)  # type: ignore[call-arg]  # taken by settings_customise_sources
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(item) for item in error.errors())) from None
    except SettingsError as error:
        raise ConfigError(f"environment: {error}: {error.__cause__}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from None


def _resolved(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the ZENZEFI_ variables, with files read and short names expanded.

    The most explicit form wins: the long name over a file, and both over a short name.
    """
    found: dict[str, str] = {}
    for name, given in sorted(environ.items(), key=_plainness):
        value = given
        long_name = SHORT_NAMES.get(name, name)
        if not long_name.startswith(PREFIX) or "__" not in long_name:
            continue
        section = long_name.removeprefix(PREFIX).partition("__")[0].lower()
        if section not in Settings.model_fields:
            raise ConfigError(f"{name}: there is no section {section!r} in config.toml")
        if long_name.endswith("_FILE") and not long_name.endswith("__CA_FILE"):
            long_name = long_name.removesuffix("_FILE")
            try:
                value = Path(value).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{name}: cannot read {value!r}: {error}") from None
        found[long_name] = value
    return found


def _plainness(variable: tuple[str, str]) -> int:
    """Order variables so that a more explicit one comes later and overrides the others."""
    name = variable[0]
    return 0 if name in SHORT_NAMES else 1 if name.endswith("_FILE") else 2


def _sentence(item: ErrorDetails) -> str:
    """Format one pydantic error as `key: what is wrong (value)`."""
    key = ".".join(str(part) for part in item["loc"]) or "settings"
    message = item["msg"].removeprefix("Value error, ")
    value = item["input"]
    if (
        item["type"] in {"missing", "extra_forbidden"}
        or not isinstance(value, str | int | float)
        or SECRET_KEY.search(key)
    ):
        return f"{key}: {message}"
    return f"{key}: {message} (it is {value!r})"

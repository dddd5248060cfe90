"""Settings: config.toml, overridden by the environment and by secret files, read once into frozen objects."""

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
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

PREFIX = "ZENZEFI_"
SHORT_NAMES = {"DATABASE_URL": f"{PREFIX}DATABASE__URL", "REDIS_URL": f"{PREFIX}REDIS__URL"}
# The value of such a key is never printed; a database's address may carry a password. Nor is that of a key that
# nobody knows: it may be a secret under a misspelt name.
SECRET_KEY = re.compile(r"key|password|secret|database\.url|redis\.url")
DEFAULT_FILE = Path(__file__).resolve().parent.parent / "config.toml"


class ConfigError(Exception):
    """A setting is missing or wrong; the message names the key and the value."""


def _psycopg2_url(url: str) -> str:
    """SQLAlchemy 2.1 reads a plain postgresql:// as psycopg 3, so the driver is named."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+psycopg2"}:
        raise ValueError("must start with postgresql://")
    return f"postgresql+psycopg2://{rest}"


def _redis_url(url: str) -> str:
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must start with redis://, rediss:// or unix://")
    return url


def _http_origin(url: str) -> str:
    """Accept an http(s) origin, or nothing; a trailing slash is taken off."""
    if not url:
        return url
    parts = urlsplit(url)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError("must be http://host[:port] or https://host[:port] without a path")
    if parts.username is not None:
        raise ValueError("must not carry a user name or password")
    _ = parts.port  # raises ValueError on a port that is no number
    return f"{parts.scheme}://{parts.netloc}"


def _host_and_port(address: str) -> str:
    """Accept host:port; an IPv6 address stands in brackets."""
    parts = urlsplit(f"//{address}")
    if not parts.hostname or not parts.port or parts.netloc != address or parts.username is not None:
        raise ValueError("must be host:port")
    return address


def _request_path(path: str) -> str:
    if not re.fullmatch(r"/[!\"$-~]*", path):
        raise ValueError("must be a path that starts with / and has no spaces")
    return path


def _secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 16:
        raise ValueError("must have at least 16 characters")
    return value


def _secrets(value: SecretStr) -> SecretStr:
    for key in value.get_secret_value().split(","):
        if len(key.strip()) < 16:
            raise ValueError("must have at least 16 characters in each of its keys")
    return value


Origin = Annotated[str, AfterValidator(_http_origin)]
Port = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Money = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=2)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]


class Section(BaseModel):
    """One table of config.toml: frozen, and a key that nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Platform(Section):
    environment: Literal["development", "production"] = "development"

    @property
    def is_production(self) -> bool:
        return self.environment == "production"


class Database(Section):
    url: Annotated[str, AfterValidator(_psycopg2_url)] = Field(repr=False)
    pool_size: Positive = 10
    statement_timeout_ms: Positive = 15000
    lock_timeout_ms: Positive = 5000


class Redis(Section):
    url: Annotated[str, AfterValidator(_redis_url)] = Field(repr=False)


class Portal(Section):
    host: str = "127.0.0.1"
    port: Port = 8000
    public_url: Origin = ""
    secret_key: Secret
    session_hours: Positive = 168
    trusted_proxies: Annotated[int, Field(ge=0, le=5)] = 0
    threads: Positive = 8
    processes: Positive = 1

    @property
    def address(self) -> str:
        """The portal's origin as buyers type it, without a trailing slash."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def loopback(self) -> str:
        """The origin at which other processes of this machine reach the portal."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 - compared, not bound
        return f"http://{host}:{self.port}"


class Proxy(Section):
    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: Origin = ""
    workers: Positive = 1
    compatibility_prefix: bool = True
    grace_seconds: Seconds = 60
    trust_seconds: Seconds = 1
    known_tokens: Positive = 50000
    drain_seconds: Seconds = 30
    access_log: str = ""
    ops_networks: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    observers: tuple[str, ...] = ()
    tls_certificate: str = ""
    proxy_protocol: bool = False
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    head_bytes: Positive = 32768
    header_count: Positive = 100
    url_bytes: Positive = 8192
    body_bytes: Annotated[int, Field(ge=0)] = 0
    head_seconds: Seconds = 15
    body_idle_seconds: Seconds = 30
    response_idle_seconds: Seconds = 120
    keep_alive_seconds: Seconds = 75
    tunnel_idle_seconds: Seconds = 600
    total_seconds: Annotated[float, Field(ge=0)] = 0
    connections: Positive = 10000
    connections_per_address: Annotated[int, Field(ge=0)] = 0

    @property
    def address(self) -> str:
        """The proxy's origin as clients use it, without a trailing slash."""
        return self.public_url or f"http://{self.host}:{self.port}"


class Upstream(Section):
    url: Origin = ""
    addresses: tuple[Annotated[str, AfterValidator(_host_and_port)], ...] = ()
    connect_timeout_seconds: Seconds = 5
    read_timeout_seconds: Seconds = 60
    ca_file: str = ""
    client_certificate: str = ""
    tls_timeout_seconds: Seconds = 5
    probe_path: Annotated[str, AfterValidator(_request_path)] = "/"
    probe_interval_seconds: Seconds = 5
    probe_timeout_seconds: Seconds = 3

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """Every host and port that serves the upstream; none while no upstream is configured."""
        url = urlsplit(self.url)
        if not url.hostname:
            return ()
        if not self.addresses:
            return ((url.hostname, url.port or (443 if url.scheme == "https" else 80)),)
        parts = [urlsplit(f"//{address}") for address in self.addresses]
        return tuple((part.hostname, part.port) for part in parts if part.hostname and part.port)

    @property
    def probe_gap(self) -> timedelta:
        """How long after a probe its result still stands: a time without probes tells nothing."""
        return timedelta(seconds=3 * self.probe_interval_seconds + self.probe_timeout_seconds)


class Tokens(Section):
    hash_key: Secret
    mac_keys: Annotated[SecretStr, AfterValidator(_secrets)]

    @property
    def macs(self) -> tuple[bytes, ...]:
        """The MAC keys, newest first: the first one signs, all of them verify."""
        keys = (key.strip() for key in self.mac_keys.get_secret_value().split(","))
        return tuple(key.encode() for key in keys if key)


class Prices(Section):
    znc: Mapping[Annotated[int, Field(gt=0)], Money] = Field(min_length=1)
    rub_per_znc: Money = Decimal(10)


class Refund(Section):
    used_time_rate: Literal["prorata", "list"] = "prorata"


class Limits(Section):
    auth_per_hour: Positive = 5
    api_per_minute: Positive = 100
    proxy_per_minute: Positive = 1000
    proxy_at_once: Positive = 100
    failures_per_minute: Positive = 60
    topup_max_znc: Money = Decimal(100000)


class Sessions(Section):
    device_policy: Literal["off", "when_sent", "required"] = "when_sent"
    device_idle_seconds: Positive = 300
    close_idle_seconds: Positive = 3600


class Payments(Section):
    providers: tuple[Literal["mock"], ...] = ("mock",)
    pending_minutes: Positive = 60
    callback_tolerance_seconds: Positive = 300
    mock_signing_key: Secret | None = None

    @model_validator(mode="after")
    def _mock_needs_its_key(self) -> Self:
        if "mock" in self.providers and self.mock_signing_key is None:
            raise ValueError("mock_signing_key is required while the mock provider is on")
        return self


class Mail(Section):
    smtp_host: str = ""
    smtp_port: Port = 587
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_starttls: bool = True
    sender: str = "Zenzefi <no-reply@localhost>"

    @property
    def is_configured(self) -> bool:
        return bool(self.smtp_host)


class Audit(Section):
    keep_days: Positive = 30


class Admin(Section):
    email: str = "admin@localhost.localdomain"
    password: Secret | None = None


class Settings(BaseSettings):
    """Everything that can be set; one frozen object for the life of a process."""

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
    limits: Limits = Limits()
    sessions: Sessions = Sessions()
    payments: Payments
    mail: Mail = Mail()
    audit: Audit = Audit()
    admin: Admin = Admin()
    scopes: Mapping[str, tuple[str, ...]]

    @model_validator(mode="after")
    def _production_refuses_what_only_serves_development(self) -> Self:
        if not self.platform.is_production:
            return self
        if "mock" in self.payments.providers:
            raise ValueError("payments.providers: the mock provider must be off in production")
        portal, proxy = urlsplit(self.portal.address), urlsplit(self.proxy.address)
        if portal.scheme != "https" or proxy.scheme != "https":
            raise ValueError("portal.public_url and proxy.public_url: must be https:// in production")
        if portal.hostname == proxy.hostname:
            raise ValueError("portal.public_url and proxy.public_url: must have separate host names in production")
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
        """Take the sources that `load` built, so that a test needs no real environment."""
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


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of this process.

    Raises ConfigError that names every wrong key with its value (a secret's value excepted).
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
    """Return the ZENZEFI_ variables, with files read and short names spelt out.

    The plainest way of saying a thing wins: the long name over a file, and both over a short name.
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
    """Order variables so that a plainer one comes later and overrides the others."""
    name = variable[0]
    return 0 if name in SHORT_NAMES else 1 if name.endswith("_FILE") else 2


def _sentence(item: ErrorDetails) -> str:
    """Turn one complaint of pydantic into `key: what is wrong (value)`."""
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

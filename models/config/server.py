"""Settings sections: platform, database, Redis, portal, proxy, upstream, tokens and limits, one frozen class each.

The sections for what is sold are in shop.py, those for mail and operations in operations.py.
"""

from datetime import timedelta, tzinfo
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models import addresses, time_zones
from models.config.types import (
    DatabaseUrl,
    HostAndPort,
    Money,
    Network,
    OptionalDatabaseUrl,
    Origin,
    Port,
    Positive,
    RedisUrl,
    RequestPath,
    Seconds,
    Secret,
    Secrets,
    TimeZone,
)


class Section(BaseModel):
    """One table of config.toml: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _on_this_machine(host: str) -> str:
    """Return the host at which this machine reaches a listener on `host`."""
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound


class Platform(Section):
    environment: Literal["development", "production"] = "development"
    machines: Positive = 1
    time_zone: TimeZone = time_zones.DEFAULT

    @property
    def zone(self) -> tzinfo:
        """The zone of the platform's daily statistics."""
        return time_zones.zone_of(self.time_zone)

    @property
    def is_production(self) -> bool:
        return self.environment == "production"


class Database(Section):
    url: DatabaseUrl = Field(repr=False)
    listen_url: OptionalDatabaseUrl = Field("", repr=False)
    pool_size: Positive = 10
    statement_timeout_ms: Positive = 15000
    lock_timeout_ms: Positive = 5000

    @property
    def direct_url(self) -> str:
        """The URL for direct server connections: LISTEN, backups and restores."""
        return self.listen_url or self.url

    @property
    def direct(self) -> Self:
        """These settings for an engine that needs direct server connections."""
        return self.model_copy(update={"url": self.direct_url})


class Redis(Section):
    url: RedisUrl = Field(repr=False)


class Portal(Section):
    host: str = "127.0.0.1"
    port: Port = 8000
    public_url: Origin = ""
    secret_key: Secret
    session_hours: Positive = 168
    trusted_proxies: Annotated[int, Field(ge=0, le=5)] = 0
    threads: Positive = 8
    processes: Positive = 1
    connections: Annotated[int, Field(ge=16)] = 1000
    head_seconds: Seconds = 15
    body_seconds: Seconds = 60
    response_seconds: Seconds = 30
    admin_two_factor: bool | None = None

    @property
    def address(self) -> str:
        """The portal's origin as users type it, without a trailing slash."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def loopback(self) -> str:
        """The origin at which other processes of this machine reach the portal."""
        return f"http://{_on_this_machine(self.host)}:{self.port}"


class Cors(Section):
    origins: tuple[Origin | Literal["*"], ...] = ()
    credentials: bool = False
    max_age_seconds: Annotated[int, Field(ge=0, le=86400)] = 600

    @model_validator(mode="after")
    def _every_origin_is_trusted_with_nothing(self) -> Self:
        if "*" in self.origins and self.credentials:
            raise ValueError('proxy.cors.credentials: must be false while proxy.cors.origins holds "*"')
        return self


class Proxy(Section):
    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: Origin = ""
    workers: Positive = 1
    compatibility_prefix: bool = True
    rewrite_upstream_host: bool = True
    via: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$", max_length=64)] = "gateway"
    grace_seconds: Seconds = 60
    trust_seconds: Seconds = 1
    known_tokens: Positive = 50000
    drain_seconds: Seconds = 30
    drain_idle_seconds: Seconds = 1
    access_log: str = ""
    ops_networks: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    observers: tuple[str, ...] = ()
    tls_certificate: str = ""
    proxy_protocol: bool = False
    trusted_proxies: tuple[Network, ...] = ()
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
    client_half_close: bool = False
    connections: Positive = 10000
    connections_per_address: Annotated[int, Field(ge=0)] = 1000
    cors: Cors = Cors()

    def is_ops(self, address: str) -> bool:
        """Return whether an address is in an ops network."""
        return addresses.is_in(address, self.ops_networks)

    @property
    def address(self) -> str:
        """The proxy's origin as clients use it, without a trailing slash."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def loopback(self) -> str:
        """The origin at which other processes of this machine reach the workers."""
        return f"{'https' if self.tls_certificate else 'http'}://{_on_this_machine(self.host)}:{self.port}"


class Upstream(Section):
    url: Origin = ""
    addresses: tuple[HostAndPort, ...] = ()
    connect_timeout_seconds: Seconds = 5
    read_timeout_seconds: Seconds = 60
    ca_file: str = ""
    client_certificate: str = ""
    tls_timeout_seconds: Seconds = 5
    pool_connections: Annotated[int, Field(ge=0)] = 2000
    pool_idle: Annotated[int, Field(ge=0)] = 256
    pool_idle_seconds: Seconds = 30
    pool_max_requests: Annotated[int, Field(ge=0)] = 0
    pool_max_age_seconds: Annotated[float, Field(ge=0)] = 0
    pool_queue: Annotated[int, Field(ge=0)] = 128
    pool_queue_seconds: Seconds = 5
    pool_shared: bool = False
    probe_path: RequestPath = "/"
    probe_interval_seconds: Seconds = 5
    probe_timeout_seconds: Seconds = 3

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """Every host and port of the upstream; none while no upstream is configured."""
        url = urlsplit(self.url)
        if not url.hostname:
            return ()
        if not self.addresses:
            return ((url.hostname, url.port or (443 if url.scheme == "https" else 80)),)
        parts = [urlsplit(f"//{address}") for address in self.addresses]
        return tuple((part.hostname, part.port) for part in parts if part.hostname and part.port)

    @property
    def probe_gap(self) -> timedelta:
        """How long a probe's result is valid."""
        return timedelta(seconds=3 * self.probe_interval_seconds + self.probe_timeout_seconds)

    @property
    def probe_lease(self) -> timedelta:
        """How long a worker remains the prober after its last probe: until the next one is over, plus a second."""
        return timedelta(seconds=self.probe_interval_seconds + self.probe_timeout_seconds + 1)


class Tokens(Section):
    hash_key: Secret
    mac_keys: Secrets
    rotate_grace_seconds: Annotated[int, Field(ge=0, le=86400)] = 600

    @property
    def macs(self) -> tuple[bytes, ...]:
        """The MAC keys, newest first: the first one signs, all of them verify."""
        keys = (key.strip() for key in self.mac_keys.get_secret_value().split(","))
        return tuple(key.encode() for key in keys if key)


class Limits(Section):
    auth_per_hour: Positive = 5
    auth_per_address: Positive = 30
    registrations_per_hour: Positive = 5
    api_per_minute: Positive = 100
    proxy_per_minute: Positive = 1000
    proxy_at_once: Positive = 100
    failures_per_minute: Positive = 60
    topup_max_znc: Money = Decimal(100000)


class Sessions(Section):
    device_policy: Literal["off", "when_sent", "required"] = "when_sent"
    device_idle_seconds: Positive = 300
    close_idle_seconds: Positive = 3600


class Maintenance(Section):
    """While enabled, the proxy refuses requests and users change nothing in the portal; admins can."""

    on: bool = False
    retry_after_seconds: Annotated[int, Field(gt=0, le=86400)] = 300
    words_en: Annotated[str, Field(max_length=300)] = ""
    words_ru: Annotated[str, Field(max_length=300)] = ""

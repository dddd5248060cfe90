"""Types of settings values, each with a check that gives a clear message."""

import re
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from models import addresses, time_zones


def _psycopg2_url(url: str) -> str:
    """Name the driver: SQLAlchemy 2.1 reads a plain postgresql:// as psycopg 3."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+psycopg2"}:
        raise ValueError("must start with postgresql://")
    return f"postgresql+psycopg2://{rest}"


def _psycopg2_url_or_nothing(url: str) -> str:
    return _psycopg2_url(url) if url else url


def _redis_url(url: str) -> str:
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must start with redis://, rediss:// or unix://")
    return url


def _http_origin(url: str) -> str:
    """Accept an http(s) origin or nothing, without a trailing slash."""
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
    """Accept host:port; an IPv6 address is in brackets."""
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


def _time_zone(name: str) -> str:
    if name not in time_zones.names():
        raise ValueError("must be a time zone such as Europe/Moscow, or UTC")
    return name


Origin = Annotated[str, AfterValidator(_http_origin)]
Port = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Money = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=2)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Secrets = Annotated[SecretStr, AfterValidator(_secrets)]
DatabaseUrl = Annotated[str, AfterValidator(_psycopg2_url)]
OptionalDatabaseUrl = Annotated[str, AfterValidator(_psycopg2_url_or_nothing)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
HostAndPort = Annotated[str, AfterValidator(_host_and_port)]
Network = Annotated[IPv4Network | IPv6Network, AfterValidator(addresses.unmapped)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
RequestPath = Annotated[str, AfterValidator(_request_path)]

"""Build the HTTP layer's limits, forwarding rules, upstream and TLS from the settings."""

from functools import partial
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from addon.admission.credentials import holds_secret, mask_secrets
from addon.http1.limits import Limits
from addon.http1.messages.cors import Cors
from addon.http1.messages.forwarding import Rules
from addon.http1.messages.host_rewriting import HostRewriting
from addon.http1.messages.request_target import authority_key
from addon.http1.upstream import Upstream
from addon.http1.upstream_pool.dialing import dial
from addon.http1.upstream_pool.limits import PoolLimits
from addon.http1.upstream_pool.pool import UpstreamPool
from addon.http1.upstream_pool.tls import UpstreamTls
from addon.process.server import Tls
from addon.recording.counters import Counters
from addon.recording.upstream_counts import UpstreamCounts
from models.config import server
from models.config import settings as config
from models.config.settings import Settings
from models.services.gateway.request_paths import PREFIX, RESERVED_SEGMENT

# Cookies of the portal and of browser access: the upstream neither receives nor sets them.
COOKIES = frozenset({b"zenzefi", b"__host-zenzefi", b"zenzefi_access", b"__host-zenzefi_access", b"__host-device"})
# The portal's cookies with common names. Browsers send them to the gateway only where the portal has the same host
# name, as in development (RFC 6265, section 8.5: ports do not isolate them); elsewhere an upstream may use the names.
COOKIES_OF_A_SHARED_HOST = frozenset({b"device", b"lang", b"theme", b"seen"})


def build_upstream(settings: Settings) -> Upstream:
    """Return the upstream. Raises ConfigError when none is configured."""
    url = urlsplit(settings.upstream.url)
    if not url.hostname:
        raise config.ConfigError("upstream.url: is required")
    tls = url.scheme == "https"
    return Upstream(
        addresses=settings.upstream.endpoints,
        host_header=url.netloc.encode(),
        tls=tls,
        sni=_server_name(url.hostname) if tls else None,
    )


def _server_name(hostname: str) -> str | None:
    """Return the server name for TLS; None for an IP address."""
    try:
        ip_address(hostname)
    except ValueError:
        return hostname
    return None


def build_tls(settings: Settings, private: Path) -> Tls | None:
    """Return the TLS files for client connections, None when TLS is not terminated here."""
    certificate = settings.proxy.tls_certificate
    return Tls(private, Path(certificate)) if certificate else None


def build_pool(settings: Settings, counters: Counters) -> UpstreamPool:
    """Return the pool of upstream connections."""
    upstream = settings.upstream
    return UpstreamPool(
        dial,
        PoolLimits(
            connections=upstream.pool_connections,
            idle=upstream.pool_idle,
            idle_seconds=upstream.pool_idle_seconds,
            max_requests=upstream.pool_max_requests,
            max_age_seconds=upstream.pool_max_age_seconds,
            queue=upstream.pool_queue,
            queue_seconds=upstream.pool_queue_seconds,
            is_shared=upstream.pool_shared,
        ),
        tls=UpstreamTls(_path(upstream.ca_file), _path(upstream.client_certificate)),
        counts=UpstreamCounts(counters),
    )


def tls_files(settings: Settings) -> list[Path]:
    """Return the files whose change requires a reload of TLS."""
    names = (settings.proxy.tls_certificate, settings.upstream.ca_file, settings.upstream.client_certificate)
    return [Path(name) for name in names if name]


def build_limits(settings: Settings) -> Limits:
    """Return the layer's limits."""
    proxy, upstream = settings.proxy, settings.upstream
    return Limits(
        head_bytes=proxy.head_bytes,
        header_count=proxy.header_count,
        url_bytes=proxy.url_bytes,
        body_bytes=proxy.body_bytes,
        head_seconds=proxy.head_seconds,
        body_idle_seconds=proxy.body_idle_seconds,
        connect_seconds=upstream.connect_timeout_seconds,
        tls_seconds=upstream.tls_timeout_seconds,
        first_byte_seconds=upstream.read_timeout_seconds,
        response_idle_seconds=proxy.response_idle_seconds,
        keep_alive_seconds=proxy.keep_alive_seconds,
        tunnel_idle_seconds=proxy.tunnel_idle_seconds,
        total_seconds=proxy.total_seconds,
        half_close=proxy.client_half_close,
        drain_idle_seconds=proxy.drain_idle_seconds,
        connections=proxy.connections,
        connections_per_address=proxy.connections_per_address,
    )


def build_forwarding_rules(settings: Settings) -> Rules:
    """Return the layer's forwarding rules."""
    return Rules(
        compatibility_prefix=PREFIX if settings.proxy.compatibility_prefix else b"",
        reserved=RESERVED_SEGMENT,
        cookies=_cookies_of(settings),
        trusted_proxies=settings.proxy.trusted_proxies,
        portal_url=settings.portal.address,
        cors=_cors_of(settings.proxy.cors),
        rewriting=_rewriting_of(settings),
        own_authorities=_own_authorities_of(settings),
        via=settings.proxy.via.encode(),
        holds_secret=partial(holds_secret, settings.tokens),
        mask_secrets=partial(mask_secrets, settings.tokens),
    )


def _own_authorities_of(settings: Settings) -> frozenset[bytes]:
    """Return the host names and ports under which clients reach this gateway."""
    proxy = settings.proxy
    names = {_key(urlsplit(address)) for address in (proxy.address, proxy.loopback)}
    return frozenset(names | {f"{host}:{proxy.port}".encode() for host in (proxy.host, "127.0.0.1", "localhost")})


def _rewriting_of(settings: Settings) -> HostRewriting | None:
    """Return how the upstream's host is rewritten in responses; None when turned off or without an upstream."""
    proxy, url = settings.proxy, urlsplit(settings.upstream.url)
    if not proxy.rewrite_upstream_host or not url.hostname:
        return None
    others = [urlsplit(f"{url.scheme}://{address}") for address in settings.upstream.addresses]
    return HostRewriting(
        upstream_origin=f"{url.scheme}://{url.netloc}".encode(),
        upstream_authorities=frozenset(_key(one) for one in (url, *others)),
        upstream_hosts=frozenset((one.hostname or "").encode() for one in (url, *others)),
        own_origin=proxy.address.encode(),
        compatibility_prefix=PREFIX if proxy.compatibility_prefix else b"",
    )


def _key(url: SplitResult) -> bytes:
    return authority_key(url.scheme.encode(), url.netloc.encode())


def _cookies_of(settings: Settings) -> frozenset[bytes]:
    """Return the names of our cookies that a browser may send to the gateway."""
    portal, proxy = urlsplit(settings.portal.address).hostname, urlsplit(settings.proxy.address).hostname
    return COOKIES | COOKIES_OF_A_SHARED_HOST if portal == proxy else COOKIES


def _cors_of(cors: server.Cors) -> Cors | None:
    """Return the CORS rules; None when no origin is allowed."""
    if not cors.origins:
        return None
    origins = frozenset(origin.encode() for origin in cors.origins)
    return Cors(origins, credentials=cors.credentials, max_age=cors.max_age_seconds)


def _path(name: str) -> Path | None:
    return Path(name) if name else None

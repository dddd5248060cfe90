"""One probe of the upstream: an HTTP request to one address, good if answered below 500 in time."""

import asyncio
import errno
import re
import ssl
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from addon.http1.upstream_pool.tls import upstream_context
from models.config.server import Upstream

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])[ \r]")
LONGEST_STATUS_LINE = 8192
# Errors of this machine say nothing about the upstream.
_LOCAL_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL}


class ProbeImpossible(Exception):
    """The probe could not be made, so the upstream's state is unknown."""


class ProbeResult(NamedTuple):
    """Whether an address is healthy, and when its certificate expires (Unix time)."""

    is_good: bool
    certificate_ends: float | None


@dataclass(frozen=True, slots=True)
class Probe:
    """The request of a probe, its timeout, and the TLS context that forwarded requests have too."""

    request: bytes
    seconds: float
    tls: ssl.SSLContext | None
    server_name: str | None

    async def run(self, host: str, port: int) -> ProbeResult:
        """Probe one address. Raises ProbeImpossible."""
        writer, ends = None, None
        try:
            async with asyncio.timeout(self.seconds):
                reader, writer = await asyncio.open_connection(
                    host, port, ssl=self.tls, server_hostname=self.server_name, limit=LONGEST_STATUS_LINE
                )
                if shown := writer.get_extra_info("peercert"):
                    ends = float(ssl.cert_time_to_seconds(shown["notAfter"]))
                writer.write(self.request)
                line = await reader.readline()
        except OSError as error:
            if error.errno in _LOCAL_ERRORS:
                raise ProbeImpossible(error.strerror) from error
            return ProbeResult(False, ends)
        except ValueError:  # an overlong status line, or an invalid host name
            return ProbeResult(False, ends)
        finally:
            if writer is not None:
                writer.transport.abort()
        match = _STATUS_LINE.match(line)
        return ProbeResult(match is not None and int(match[1]) < 500, ends)


def build_probe(upstream: Upstream) -> Probe:
    """Return the probe of an upstream. Raises OSError when a TLS file cannot be read."""
    url = urlsplit(upstream.url)
    tls = None
    if url.scheme == "https":
        tls = upstream_context(upstream.ca_file, upstream.client_certificate)
    request = (
        f"GET {upstream.probe_path} HTTP/1.1\r\nHost: {url.netloc}\r\nUser-Agent: zenzefi-prober\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    return Probe(request.encode(), upstream.probe_timeout_seconds, tls, url.hostname if tls else None)


async def probe_all(probe: Probe, addresses: tuple[tuple[str, int], ...]) -> dict[tuple[str, int], ProbeResult]:
    """Probe all addresses concurrently. Raises ProbeImpossible when one could not be probed."""
    results = await asyncio.gather(*(probe.run(host, port) for host, port in addresses))
    return dict(zip(addresses, results, strict=True))

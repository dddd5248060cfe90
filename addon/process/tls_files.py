"""TLS files: validation at start, and expiry dates of the certificates."""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from models.config.settings import ConfigError, Settings
from models.lazy_modules import LazyModule

if TYPE_CHECKING:
    from cryptography import x509
else:
    # The supervisor of the workers never reads an expiry date.
    x509 = LazyModule("cryptography.x509")


def check_tls_files(settings: Settings) -> None:
    """Check that the TLS files can be loaded. Raises ConfigError that names the key and the file."""
    proxy, upstream = settings.proxy, settings.upstream
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    named = {"proxy.tls_certificate": proxy.tls_certificate, "upstream.client_certificate": upstream.client_certificate}
    for key, file in named.items():
        if file:
            try:
                # An empty password: OpenSSL would otherwise prompt for one on the terminal.
                context.load_cert_chain(file, password="")
            except OSError as error:
                wanted = "it must hold the key, the certificate and its chain as PEM"
                raise ConfigError(f"{key}: {file} cannot be used ({_reason(error)}); {wanted}") from None
    if upstream.ca_file:
        try:
            context.load_verify_locations(cafile=upstream.ca_file)
        except OSError as error:
            raise ConfigError(f"upstream.ca_file: {upstream.ca_file} cannot be used ({_reason(error)})") from None


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)


class Certificates:
    """Expiry dates of the certificates named in the settings; a file is read again when it changes."""

    def __init__(self, settings: Settings) -> None:
        files = {"proxy": settings.proxy.tls_certificate, "upstream_client": settings.upstream.client_certificate}
        self._files = {name: Path(file) for name, file in files.items() if file}
        self._read: dict[str, tuple[tuple[int, int], float]] = {}

    def ends(self) -> dict[str, float]:
        """Return when the first certificate of each file's chain expires (Unix time); unreadable files are left out."""
        found = {}
        for name, path in self._files.items():
            try:
                stat = path.stat()
                state = (stat.st_mtime_ns, stat.st_ino)
                read_state, end = self._read.get(name, (None, 0.0))
                if read_state != state:
                    end = min(part.not_valid_after_utc.timestamp() for part in _chain(path))
                    self._read[name] = (state, end)
            except (OSError, ValueError):
                continue
            found[name] = end
        return found


def _chain(path: Path) -> "list[x509.Certificate]":
    return x509.load_pem_x509_certificates(path.read_bytes())

"""When the certificates end that this machine shows: read from their files, again only when these change."""

from pathlib import Path

from cryptography import x509

from models.config import Settings


class Certificates:
    """The files that the settings name, as they were when they were last read."""

    def __init__(self, settings: Settings) -> None:
        files = {"proxy": settings.proxy.tls_certificate, "upstream_client": settings.upstream.client_certificate}
        self._files = {name: Path(file) for name, file in files.items() if file}
        self._read: dict[str, tuple[tuple[int, int], float]] = {}

    def ends(self) -> dict[str, float]:
        """Return when the first certificate of each file's chain ends (Unix time); without what cannot be read."""
        found = {}
        for name, path in self._files.items():
            try:
                stat = path.stat()
                state = (stat.st_mtime_ns, stat.st_ino)
                known, end = self._read.get(name, (None, 0.0))
                if known != state:
                    end = min(part.not_valid_after_utc.timestamp() for part in _chain(path))
                    self._read[name] = (state, end)
            except (OSError, ValueError):
                continue
            found[name] = end
        return found


def _chain(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())

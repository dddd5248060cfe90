"""Checks of TLS certificates: public addresses, proxy workers, and the client certificate for the upstream."""

import itertools
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID

from models import clock
from ops.doctor.findings import Finding, Installation, Section, duration

TIMEOUT_SECONDS = 4.0
SEE = Section.CERTIFICATES
# Let's Encrypt certificates are renewed a month before expiry: less time left means that renewal keeps failing.
RENEW_BEFORE, URGENT_BEFORE = timedelta(days=21), timedelta(days=5)


def examine(installation: Installation) -> Iterator[Finding]:
    """Check the certificate of each public address and each certificate file in the settings."""
    settings = installation.settings
    for name, address in (("portal", settings.portal.address), ("proxy", settings.proxy.address)):
        if urlsplit(address).scheme == "https":
            yield from _served(name, address)
    if settings.proxy.tls_certificate:
        host = urlsplit(settings.proxy.address).hostname or ""
        yield from _file(Path(settings.proxy.tls_certificate), "The certificate of the workers", host)
    if settings.upstream.client_certificate:
        yield from _file(Path(settings.upstream.client_certificate), "The client certificate for the upstream", "")
    if settings.upstream.ca_file:
        what, path = "The CA file of the upstream can be read", settings.upstream.ca_file
        try:
            ssl.create_default_context(cafile=path)
            yield Finding(what, True, path)
        except (OSError, ssl.SSLError) as error:
            yield Finding(what, False, f"{path}: {error}", "Put a PEM file there ([upstream] ca_file).", SEE)
    if not any(urlsplit(address).scheme == "https" for address in (settings.portal.address, settings.proxy.address)):
        yield Finding("TLS", True, "no public address is https://, so there is no certificate")


def _served(name: str, address: str) -> Iterator[Finding]:
    """Check a served certificate against this system's trust store, as a browser does."""
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or 443
    what = f"Browsers trust the {name}'s certificate for {host}"
    try:
        with (
            socket.create_connection((host, port), timeout=TIMEOUT_SECONDS) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secure,
        ):
            shown = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
    except ssl.SSLCertVerificationError as error:
        do = "Serve the full chain (fullchain.pem) of a certificate for that very name."
        yield Finding(what, False, error.verify_message, do, SEE)
    except OSError as error:
        do = "Check that its DNS name leads here, and that nginx or Caddy runs and is reachable."
        yield Finding(what, False, f"{address}: {error.strerror or error}", do, SEE)
    else:
        yield Finding(what, True, f"issued by {_common_name(shown.issuer)}")
        yield _dates(f"The {name}'s certificate", [shown])


def _file(path: Path, what: str, host: str) -> Iterator[Finding]:
    do = "Put a PEM file there that has the key, the certificate and the chain, in this order."
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        yield Finding(f"{what} can be read and fits its key", False, f"{path}: {reason}", do, SEE)
        return
    yield Finding(f"{what} can be read and fits its key", True, str(path))
    yield _dates(what, chain)
    names = _names(chain[0])
    if host:
        is_named = any(_matches(name, host) for name in names)
        do = f"Have one issued for {host}."
        yield Finding(f"{what} is for {host}", is_named, ", ".join(names) or "no name", do, SEE)
    pairs = itertools.pairwise(chain)
    broken = next((child for child, parent in pairs if not _is_issued(child, parent)), None)
    last = chain[-1]
    alone = len(chain) == 1 and last.issuer == last.subject
    seen = f"{_common_name(broken.subject)} is not issued by the next" if broken else f"{len(chain)} in the file"
    do = "Order the certificates: the server's first, then each issuer of the one before."
    yield Finding(f"{what} has its chain in order", broken is None, seen, do, SEE)
    if alone and host:
        do = "Use a certificate from an authority (certbot, Caddy), or make clients trust this one."
        yield Finding(f"{what} is issued by an authority", False, "it is self-signed", do, SEE, is_urgent=False)


def _dates(what: str, chain: list[x509.Certificate]) -> Finding:
    now = clock.now()
    end = min(one.not_valid_after_utc for one in chain)
    begin = max(one.not_valid_before_utc for one in chain)
    do = (
        "Renew it: certbot renew, then see its timer (systemctl list-timers); workers take up a new file by themselves."
    )
    if now < begin:
        return Finding(f"{what} is valid now", False, f"not before {_day(begin)}", "Set the clock, or wait.", SEE)
    left = end - now
    seen = f"until {_day(end)}, {duration(left)} left" if left > timedelta() else f"it ended on {_day(end)}"
    return Finding(f"{what} is valid for a while", left > RENEW_BEFORE, seen, do, SEE, is_urgent=left < URGENT_BEFORE)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return []
    assert isinstance(found, x509.SubjectAlternativeName)  # noqa: S101 - for the type checker
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def _matches(name: str, host: str) -> bool:
    """Compare as browsers do: a star matches exactly one label, the first (RFC 9525, 6.3)."""
    if name.startswith("*."):
        return host.partition(".")[2].lower() == name[2:].lower()
    return name.lower() == host.lower()


def _is_issued(child: x509.Certificate, parent: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _common_name(name: x509.Name) -> str:
    return name.rfc4514_string() or "nobody"

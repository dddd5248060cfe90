"""Certificate expiry check: read the expiry dates of the certificates served at the public addresses."""

import logging
import socket
import ssl
from urllib.parse import urlsplit

from cryptography import x509

from jobs import context as jobs_context
from jobs.queues import queue
from models.services.gateway.workers import CERTIFICATES

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0


def check() -> int:
    """Connect to the https addresses of portal and proxy; return the number of certificates that were read.

    The expiry dates are exposed as metrics. An address that does not answer keeps its last known date, since that date
    comes nearer all the same.
    """
    settings, redis = jobs_context.settings_at_start().frozen, queue().connection
    seen = 0
    for name, address in (("public_portal", settings.portal.address), ("public_proxy", settings.proxy.address)):
        parts = urlsplit(address)
        if parts.scheme != "https":
            redis.hdel(CERTIFICATES, name)
            continue
        try:
            end = _expiry_of(parts.hostname or "", parts.port or 443)
        except (OSError, ValueError) as error:
            logger.warning("the certificate of %s cannot be read: %s", address, error)
        else:
            redis.hset(CERTIFICATES, name, str(end))
            seen += 1
    return seen


def _expiry_of(host: str, port: int) -> float:
    """Return the expiry (Unix time) of the certificate served for a host name. Raises OSError and ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Trust is checked by the doctor: an expired certificate has to report its date here, and nothing is sent.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=TIMEOUT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        shown = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
    return shown.not_valid_after_utc.timestamp()

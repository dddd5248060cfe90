"""Checks of the settings: strength of keys, file permissions, production requirements, encrypted connections."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr
from sqlalchemy.engine import make_url

from models import addresses
from models.config.settings import PREFIX, Settings
from ops.doctor.findings import Finding, Installation, Section
from ops.launcher.installation import Folders

SEE = Section.SETTINGS
# 128 bits as hex or base64, and at least eight different characters.
KEY_LENGTH, KEY_LETTERS = 32, 8
KEYS = ("portal.secret_key", "tokens.hash_key", "tokens.mac_keys", "payments.mock_signing_key")
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def examine(installation: Installation) -> Iterator[Finding]:
    """Check the settings and the files that secrets were read from."""
    settings, is_real = installation.settings, installation.settings.platform.is_production
    yield Finding("The settings are valid", True, f"environment = {settings.platform.environment}")
    yield from _keys(settings)
    yield from _files(installation)
    exposed = [name for name, host in _hosts(settings) if not _is_local(host)]
    if not is_real:
        do = 'Set [platform] environment = "production": it rejects the mock provider and plain HTTP.'
        seen = f"{' and '.join(exposed)} can be reached from other machines" if exposed else "loopback only"
        what = "Only this machine can reach a development installation"
        yield Finding(what, not exposed, seen, do, SEE, is_urgent=False)
    for what, is_well, seen, do in _production(settings) if is_real else ():
        yield Finding(what, is_well, seen, do, SEE, is_urgent=False)
    for name, host, is_encrypted in _stores(settings):
        seen = "this machine" if _is_local(host) else f"{host}, {'encrypted' if is_encrypted else 'not encrypted'}"
        do = (
            "Add sslmode=verify-full to DATABASE_URL (and [database] listen_url)."
            if name == "PostgreSQL"
            else "Use rediss:// in REDIS_URL."
        )
        is_well = _is_local(host) or is_encrypted
        yield Finding(f"The connection is encrypted to {name}", is_well, seen, do, SEE, is_urgent=False)


def secrets_of(settings: Settings) -> set[str]:
    """Return every secret in the settings; none of them may be printed."""
    found = set[str]()

    def walk(model: BaseModel) -> None:
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, BaseModel):
                walk(value)
            elif isinstance(value, SecretStr):
                found.add(value.get_secret_value())
                found.update(part.strip() for part in value.get_secret_value().split(","))

    walk(settings)
    for url in filter(None, (settings.database.url, settings.database.listen_url)):
        found.add(str(make_url(url).password or ""))
    found.add(urlsplit(settings.redis.url).password or "")
    found.add(settings.backup.s3_access_key)
    return {secret for secret in found if len(secret) >= 4}


def _keys(settings: Settings) -> Iterator[Finding]:
    weak = []
    for name in KEYS:
        section, key = name.split(".")
        value: SecretStr | None = getattr(getattr(settings, section), key)
        given = value.get_secret_value().split(",") if value else []
        if any(len(one.strip()) < KEY_LENGTH or len(set(one.strip())) < KEY_LETTERS for one in given):
            weak.append(name)
    seen = f"too short or too simple: {', '.join(weak)}" if weak else f"{KEY_LENGTH} characters or more each"
    do = "Generate a new one: openssl rand -hex 32 (a new tokens.hash_key invalidates every access token)."
    yield Finding("The keys are strong", not weak, seen, do, Section.SECRETS, settings.platform.is_production)


def _files(installation: Installation) -> Iterator[Finding]:
    """Check that generated secrets are private, and that files from elsewhere are not world-readable."""
    kept = Folders(installation.data.absolute()).secrets if installation.data else None
    ours = [kept, *sorted(kept.iterdir())] if kept and kept.is_dir() else []
    open_ones = [path for path in ours if path.stat().st_mode & OTHERS or path.stat().st_uid != os.geteuid()]
    seen = (
        f"not private: {', '.join(path.name for path in open_ones[:4])}"
        if open_ones
        else f"{max(len(ours) - 1, 0)} files"
    )
    do = f"chmod -R go= {kept}, and chown them to the user that runs the platform."
    yield Finding("Only this user can read the secrets", not open_ones, seen, do, Section.SECRETS)
    given = [Path(value) for name, value in os.environ.items() if name.startswith(PREFIX) and name.endswith("_FILE")]
    given += [Path(name) for name in (installation.settings.proxy.tls_certificate,) if name]
    given += [Path(name) for name in (installation.settings.upstream.client_certificate,) if name]
    public = [path for path in given if path.is_file() and path.stat().st_mode & stat.S_IRWXO]
    seen = f"world-readable: {', '.join(map(str, public[:4]))}" if public else f"{len(given)} files"
    do = "chmod o= each of them, or mount them with mode 0440."
    what = "Files named in the settings are not world-readable"
    yield Finding(what, not public, seen, do, Section.SECRETS, is_urgent=False)


def _production(settings: Settings) -> Iterator[tuple[str, bool, str, str]]:
    """Yield recommendations for production; none of them prevents a start."""
    portal, upstream = settings.portal, settings.upstream
    yield (
        "A payment provider is configured",
        bool(settings.payments.providers),
        ", ".join(settings.payments.providers) or "no provider is on",
        "Set the keys of [payments] stripe_… or yookassa_….",
    )
    yield (
        "The portal sees client addresses",
        portal.trusted_proxies > 0,
        f"trusted_proxies = {portal.trusted_proxies}",
        "Behind nginx set [portal] trusted_proxies = 1: otherwise all users share one address and its limits.",
    )
    behind = bool(settings.proxy.tls_certificate or settings.proxy.trusted_proxies)
    yield (
        "The gateway sees client addresses",
        behind,
        "yes" if behind else "no trusted proxy and no certificate",
        "Set [proxy] trusted_proxies to the network of the TLS terminator, or set tls_certificate.",
    )
    clear = urlsplit(upstream.url).scheme == "http" and not all(_is_local(host) for host, _ in upstream.endpoints)
    yield (
        "The connection is encrypted to the upstream",
        not clear,
        "not encrypted" if clear else "encrypted, or this machine",
        "Use https:// in [upstream] url; a certificate of its own goes into ca_file.",
    )
    two_factor = settings.admin_two_factor
    do = "Leave [portal] admin_two_factor unset: in production admins need a second factor."
    yield ("Admins need a second factor", two_factor, "yes" if two_factor else "switched off", do)
    mail = settings.mail
    clear = mail.is_configured and mail.security == "none" and not _is_local(mail.smtp_host)
    do = 'Set [mail] smtp_security = "starttls" or "tls".'
    yield ("Mails are sent encrypted", not clear, "not encrypted" if clear else "yes", do)
    seller = settings.seller
    do = "Fill [seller] name, address and tax_id: receipts carry them."
    yield ("Receipts say who sells", bool(seller.address and seller.tax_id), seller.name, do)


def _hosts(settings: Settings) -> tuple[tuple[str, str], ...]:
    return ("the portal", settings.portal.host), ("the gateway", settings.proxy.host)


def _stores(settings: Settings) -> Iterator[tuple[str, str, bool]]:
    for url in dict.fromkeys((settings.database.url, settings.database.direct_url)):
        database = make_url(url)
        mode = str(database.query.get("sslmode", ""))
        yield "PostgreSQL", database.host or "", mode in {"require", "verify-ca", "verify-full"}
    cache = urlsplit(settings.redis.url)
    yield "Redis", "" if cache.scheme == "unix" else cache.hostname or "", cache.scheme == "rediss"


def _is_local(host: str) -> bool:
    """Tell whether a host is this machine; an empty one is a socket file."""
    if host in {"", "localhost"}:
        return True
    address = addresses.parse(host)
    return address is not None and address.is_loopback

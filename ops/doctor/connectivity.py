"""Doctor checks of outgoing and incoming connections: portal, gateway, upstream, mail, providers."""

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import certifi

from models.config.server import Upstream
from ops.backups import manifest
from ops.backups.s3 import Bucket
from ops.console import Failure
from ops.doctor.backups import folder_of
from ops.doctor.findings import Finding, Installation, Section, duration

TIMEOUT_SECONDS = 4.0
SLOW_SECONDS = 1.0
LONGEST_ANSWER = 65536
NOT_HTTP = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, how long it took, and the sender's `Date` header."""

    status: int
    seconds: float
    date: str
    body: bytes


def ask(
    url: str, path: str, *, at: tuple[str, int] | None = None, host: str = "", tls: ssl.SSLContext | None = None
) -> Answer:
    """GET a path, at another place than the URL names if wanted; no proxy is asked and no redirect is followed."""
    parts, began = urlsplit(url), time.monotonic()
    there = at or (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    connection = http.client.HTTPConnection(*there, timeout=TIMEOUT_SECONDS)
    try:
        connection.connect()
        if parts.scheme == "https":
            context = tls or ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=parts.hostname)
        connection.request("GET", path, headers={"Host": host or parts.netloc, "Connection": "close"})
        reply = connection.getresponse()
        body = reply.read(LONGEST_ANSWER)
        return Answer(reply.status, time.monotonic() - began, reply.headers.get("Date", ""), body)
    finally:
        connection.close()


def ask_upstream(upstream: Upstream, at: tuple[str, int] | None = None) -> Answer:
    """Ask the upstream what the prober asks it, trusting the authorities that the requests of buyers trust."""
    tls = None
    if urlsplit(upstream.url).scheme == "https":
        tls = ssl.create_default_context(cafile=upstream.ca_file or certifi.where())
    return ask(upstream.url, upstream.probe_path, at=at, tls=tls)


def examine_portal(installation: Installation) -> Iterator[Finding]:
    """Ask the portal how it is, as a load balancer does. In production it hears its own name only."""
    name = urlsplit(installation.settings.portal.address).netloc
    yield _ours("portal", installation.portal, "/health", name)


def examine_gateway(installation: Installation) -> Iterator[Finding]:
    """Ask the workers whether they admit requests."""
    yield _ours(
        "gateway", installation.gateway, "/_zenzefi/ready", urlsplit(installation.settings.proxy.address).netloc
    )


def _ours(name: str, url: str, path: str, host: str) -> Finding:
    what, see = f"The {name} answers and is ready", Section(f"the-{name}-does-not-answer")
    option = f"--{name} names another address"
    try:
        # What listens there may have a certificate for its public name alone, and it is this machine that is asked.
        answer = ask(url, path, host=host, tls=_unverified())
    except ConnectionRefusedError:
        return Finding(what, False, f"nothing listens at {url}", f"Start it, as ./zenzefi up does; {option}.", see)
    except NOT_HTTP as error:
        return Finding(what, False, f"{url}: {error or type(error).__name__}", f"See its log; {option}.", see)
    status = _status(answer.body)
    seen = f"{url}: {status or f'status {answer.status}'}, {duration(answer.seconds)}"
    if status is None and answer.status != 503:
        do = f"Another program listens there: stop it, or choose another port for the {name}."
        return Finding(what, False, seen, do, Section.PORT_TAKEN)
    is_well = answer.status == 200 and status != "unhealthy"
    if is_well and status == "degraded":
        return Finding(what, False, seen, "The upstream is out: see there.", see, is_urgent=False)
    return Finding(what, is_well, seen, "See what else is bad on this page, then its log.", see)


def _status(body: bytes) -> str | None:
    """Return the word that an answer of ours carries; None when it is none of ours."""
    try:
        found = json.loads(body)
        return str(found["status"])
    except (ValueError, TypeError, KeyError):
        return None


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def examine_upstream(installation: Installation) -> Iterator[Finding]:
    """Ask each server of the upstream as the prober does."""
    upstream = installation.settings.upstream
    if not upstream.url:
        do = "Set [upstream] url, or --upstream; without one ./zenzefi up starts a sample."
        yield Finding("An upstream is configured", False, "none", do, Section.UPSTREAM, is_urgent=False)
        return
    for host, port in upstream.endpoints:
        what, see = f"The upstream answers at {host}:{port}", Section.UPSTREAM
        try:
            answer = ask_upstream(upstream, (host, port))
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            do = "Renew its certificate, or name its authority by [upstream] ca_file."
            yield Finding(what, False, f"TLS fails: {reason}", do, see)
        except NOT_HTTP as error:
            do = "Look at that server; buyers are credited for the outage."
            yield Finding(what, False, str(error) or type(error).__name__, do, see)
        else:
            seen = f"status {answer.status} in {duration(answer.seconds)}"
            is_fast = answer.seconds < SLOW_SECONDS
            do = f"{upstream.probe_path} must be answered below 500 and soon; [upstream] probe_path may name another."
            yield Finding(what, answer.status < 500 and is_fast, seen, do, see, is_urgent=answer.status >= 500)


def examine_bucket(installation: Installation) -> Iterator[Finding]:
    """Ask the storage for the newest backup that lies here."""
    bucket, see = installation.settings.backup.s3_bucket, Section.BACKUPS
    if not bucket:
        do = "Set [backup] s3_bucket: a backup on the same machine goes with the machine."
        is_well = not installation.settings.platform.is_production
        yield Finding("Backups are copied to a bucket", is_well, "no bucket is set", do, see, is_urgent=False)
        return
    kept = manifest.list_backups(folder_of(installation))
    try:
        # The hurry is ours, not the storage's: a nightly copy may well wait longer.
        there = Bucket(installation.settings, seconds=TIMEOUT_SECONDS, attempts=1)
        is_there = there.has(kept[0].file) if kept else there.has("zenzefi")
    except Failure as failure:
        do = "Check [backup] s3_bucket, s3_endpoint and the keys."
        yield Finding("Backups are copied to a bucket", False, str(failure), do, see)
        return
    seen = f"{bucket} answers" + (f", {kept[0].file} is {'there' if is_there else 'NOT there'}" if kept else "")
    do = "Run ./zenzefi backup, which sends a copy, and look at what it says."
    yield Finding("Backups are copied to a bucket", is_there or not kept, seen, do, see)

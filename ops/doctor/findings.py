"""Findings of the doctor, and the installation that it examines."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from models.config.settings import Settings
from models.database import Sessions


@dataclass(frozen=True, slots=True)
class Installation:
    """The installation that is examined: settings, database sessions, and the addresses of portal and proxy.

    With `is_quick`, checks whose duration grows with the database are left out.
    """

    settings: Settings
    sessions: Sessions
    portal: str
    gateway: str = ""
    data: Path | None = None
    is_quick: bool = False


class Level(StrEnum):
    """Severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


class Section(StrEnum):
    """Sections of docs/TROUBLESHOOTING.md."""

    NOWHERE = ""
    PYTHON = "python-and-packages"
    SERVER_VERSIONS = "server-versions"
    POSTGRESQL = "postgresql-does-not-answer"
    CONNECTIONS = "connections"
    POOLERS = "poolers"
    SERVER_LOG = "postgresql-logs-values"
    MIGRATIONS = "migrations"
    PERMISSIONS = "database-permissions"
    REDIS_MEMORY = "redis-memory"
    REDIS = "redis-does-not-answer"
    CLOCKS = "clocks"
    PORTAL = "the-portal-does-not-answer"
    GATEWAY = "the-gateway-does-not-answer"
    PORT_TAKEN = "another-program-has-the-port"
    UPSTREAM = "the-upstream-does-not-answer"
    MAILS = "mails-do-not-arrive"
    BACKUPS = "backups"
    DISK_FULL = "disk-full"
    AUDIT = "audit-log-verification-fails"
    LEDGER = "ledger-verification-fails"
    JOBS = "jobs-do-not-run"
    REVIEWS = "payments-to-review"
    SETTINGS = "settings"
    SECRETS = "secrets"
    CERTIFICATES = "certificates"
    SLOW = "everything-is-slow"
    FILE_DESCRIPTORS = "file-descriptors"
    FAULT = "reporting-a-fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: the expectation, whether it is met, and what was seen.

    `do` is the next step, in one sentence; `see` is the section of docs/TROUBLESHOOTING.md with more.
    """

    what: str
    is_well: bool
    seen: str
    do: str = ""
    see: Section = Section.NOWHERE
    is_urgent: bool = True

    @property
    def level(self) -> Level:
        if self.is_well:
            return Level.OK
        return Level.BAD if self.is_urgent else Level.WARNING


@dataclass(frozen=True, slots=True)
class Subject:
    """A part of the installation; `examine` yields findings as it goes."""

    name: str
    about: str
    examine: Callable[[Installation], Iterator[Finding]]


def duration(length: timedelta | float) -> str:
    """Return a length of time (timedelta or seconds) in its largest suitable unit."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"

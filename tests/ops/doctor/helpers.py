"""Installations for tests of the doctor, and helpers for its findings."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from models import database
from models.config import settings as config
from models.config.settings import Settings
from ops.doctor.findings import Finding, Installation, Level
from tests.conftest import SECRETS

NOWHERE = "127.0.0.1:9"
GOOD_KEYS = {name: f"{number}f0e1d2c3b4a5968778695a4b3c2d1e0f" for number, name in enumerate(SECRETS)}


def settings(**more: str) -> Settings:
    """Return settings of servers that do not exist; `mail__smtp_host="…"` changes one."""
    given = {f"ZENZEFI_{name}".upper(): value for name, value in more.items()}
    addresses = {"DATABASE_URL": f"postgresql://nobody@{NOWHERE}/none", "REDIS_URL": f"redis://{NOWHERE}/0"}
    return config.load_settings({**GOOD_KEYS, **addresses, **given})


def installation(
    chosen: Settings | None = None, *, data: Path | None = None, hurried: bool = True, **more: str
) -> Installation:
    """Return an installation in which only the servers named by the settings run."""
    chosen = chosen or settings(**more)
    sessions = database.sessions(create_engine(chosen.database.url, connect_args={"connect_timeout": 3}))
    return Installation(chosen, sessions, f"http://{NOWHERE}", f"http://{NOWHERE}", data, hurried)


def levels(findings: Iterable[Finding]) -> dict[str, Level]:
    """Return the levels of all findings by subject."""
    return {finding.what: finding.level for finding in findings}


def problems(findings: Iterable[Finding]) -> dict[str, Level]:
    """Return the levels of the problems by subject; each has an advice and a link."""
    found = [finding for finding in findings if not finding.is_well]
    assert all(finding.do and finding.see for finding in found if finding.seen != "it does not answer")
    return levels(found)


def production(**more: str) -> dict[str, str]:
    """Settings that are required in production."""
    facts: dict[str, Any] = {
        "platform__environment": "production",
        "portal__public_url": "https://shop.example",
        "proxy__public_url": "https://proxy.example",
        "upstream__url": f"http://{NOWHERE}",
        "payments__providers": "[]",
    }
    return {**facts, **more}

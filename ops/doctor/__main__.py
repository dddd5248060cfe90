"""`./zenzefi doctor [SUBJECT ...]`: examine the own installation, all subjects or the named ones."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy.exc import OperationalError, ProgrammingError

from models import database
from ops.console import Failure, complain, say
from ops.doctor import ledger, payments
from ops.doctor.findings import Finding, House, Subject
from ops.installation import DATA, settings_of

WELL, ILL, UNKNOWN = 0, 1, 2

SUBJECTS = (
    Subject("payments", "attack the addresses that payment providers call, and look at the books", payments.examine),
    Subject("ledger", "prove that the books add up, as ./zenzefi ledger verify does", ledger.examine),
)


def main(arguments: Sequence[str]) -> int:
    """Examine and report; returns 0 when all is well, 1 when something is not, 2 when that cannot be told."""
    options = _parse(arguments)
    found: list[dict[str, object]] = []
    try:
        for subject, finding in _findings(options):
            found.append({"subject": subject.name, "what": finding.what, "ok": finding.is_well, "seen": finding.seen})
            if not options.json:
                say(f"{'  ok  ' if finding.is_well else ' FAIL '} {finding.what}: {finding.seen}")
    except Failure as failure:
        complain(str(failure))
        return UNKNOWN
    except (OperationalError, ProgrammingError) as error:
        complain(f"The database cannot be used: {str(error.orig).strip().splitlines()[0]}")
        return UNKNOWN
    ill = sum(not line["ok"] for line in found)
    say(json.dumps({"is_well": not ill, "findings": found}, indent=1) if options.json else _summary(len(found), ill))
    return ILL if ill else WELL


def _findings(options: argparse.Namespace) -> Iterator[tuple[Subject, Finding]]:
    settings = settings_of(options.data)
    engine = database.connect(settings.database)
    try:
        house = House(settings, database.sessions(engine), (options.portal or settings.portal.loopback).rstrip("/"))
        for subject in SUBJECTS:
            if not options.subjects or subject.name in options.subjects:
                if not options.json:
                    say(f"{subject.name}: {subject.about}")
                for finding in subject.examine(house):
                    yield subject, finding
    finally:
        engine.dispose()


def _summary(found: int, ill: int) -> str:
    return f"{found} findings, all well." if not ill else f"{found} findings, {ill} of them NOT well."


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./zenzefi doctor",
        description="Examine the own running installation.",
        epilog="; ".join(f"{subject.name}: {subject.about}" for subject in SUBJECTS),
    )
    parser.add_argument(
        "subjects", nargs="*", metavar="SUBJECT", help=f"{' or '.join(s.name for s in SUBJECTS)}; all if none is named"
    )
    parser.add_argument("--portal", metavar="URL", help="where the portal answers; from the settings if not given")
    parser.add_argument("--data", type=Path, default=DATA, help="the data folder of the installation")
    parser.add_argument("--json", action="store_true", help="write the findings as JSON")
    options = parser.parse_args(arguments)
    unknown = set(options.subjects) - {subject.name for subject in SUBJECTS}
    if unknown:
        parser.error(f"there is no subject {min(unknown)!r}")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

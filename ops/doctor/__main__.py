"""`./zenzefi doctor [SUBJECT ...]`: one page of truth about the own installation, or about the named subjects.

Without a subject everything is examined, within ten seconds. Nothing is changed. Exit code 0: nothing is bad;
1: something is; 2: little was examined, because the settings cannot be read or the subject is no more.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from models import clock, database
from models.config.settings import Settings
from ops.console import Failure, print_error, print_line
from ops.doctor import (
    audit_log,
    backups,
    certificates,
    clocks,
    configuration,
    connectivity,
    databases,
    ledger,
    machine,
    mail_server,
    queues,
    runner,
    versions,
)
from ops.doctor.findings import Finding, Installation, Level, Section, Subject
from ops.launcher.installation import DATA, settings_of

EXIT_OK, EXIT_BAD, EXIT_UNKNOWN = 0, 1, 2
TROUBLESHOOTING = "docs/TROUBLESHOOTING.md"
STATEMENT_TIMEOUT_MS = 8000
# A former subject, which attacked the payment callbacks of the running installation.
MOVED = "payments"

VERSIONS = Subject("versions", "Python, packages and release", versions.examine)
SETTINGS = Subject("settings", "settings, keys and who can read them", configuration.examine)
SUBJECTS = (
    VERSIONS,
    SETTINGS,
    Subject("postgresql", "the server, revision and permissions", databases.examine_postgres),
    Subject("redis", "the server and its memory", databases.examine_redis),
    Subject("portal", "does the portal answer", connectivity.examine_portal),
    Subject("gateway", "does the proxy answer", connectivity.examine_gateway),
    Subject("upstream", "does the server that is sold answer", connectivity.examine_upstream),
    Subject("mail", "does the mail server take our mail", mail_server.examine),
    Subject("clocks", "ours beside those of the servers", clocks.examine),
    Subject("certificates", "dates, names and chains", certificates.examine),
    Subject("ledger", "the books, as ./zenzefi ledger verify proves them", ledger.examine),
    Subject("audit", "the audit log, as ./zenzefi audit verify proves it", audit_log.examine),
    Subject("queues", "workers, scheduler and queues", queues.examine),
    Subject("waiting", "what waits in the database for the jobs", queues.examine_pending),
    Subject("backups", "the newest one, its checksum, and room for more", backups.examine),
    Subject("bucket", "the copy of the backups elsewhere", connectivity.examine_bucket),
    Subject("machine", "disk, file descriptors, load", machine.examine),
)


def main(arguments: Sequence[str]) -> int:
    """Examine and report; returns the exit code."""
    options = _parse(arguments)
    if MOVED in options.subjects:
        print_error(
            "The attacks on payment callbacks are tests now: ./zenzefi test tests/abuse/test_payment_callbacks.py"
        )
        options.subjects.remove(MOVED)
        if not options.subjects:
            return EXIT_UNKNOWN
    try:
        settings = settings_of(options.data)
    except Failure as failure:
        _print_findings(_without_settings(options, str(failure)), set(), as_json=options.json)
        return EXIT_UNKNOWN
    return _print_findings(_findings(options, settings), configuration.secrets_of(settings), as_json=options.json)


def _print_findings(findings: Iterator[tuple[Subject, Finding]], hidden: set[str], *, as_json: bool) -> int:
    """Say what is found as it comes, or all of it as JSON; returns the exit code."""
    told: list[dict[str, str]] = []
    for subject, finding in findings:
        facts = _facts(subject, finding, hidden)
        if not as_json:
            if not told or told[-1]["subject"] != subject.name:
                print_line(f"{subject.name}: {subject.about}")
            for line in _lines(facts):
                print_line(line)
        told.append(facts)
    counts = {level: sum(facts["level"] == level for facts in told) for level in Level}
    if as_json:
        head = {"at": clock.now().isoformat(timespec="seconds"), "is_well": not counts[Level.BAD]}
        print_line(json.dumps(head | {"findings": told}, indent=1))
    else:
        print_line(_summary(counts))
    return EXIT_BAD if counts[Level.BAD] else EXIT_OK


def _findings(options: argparse.Namespace, settings: Settings) -> Iterator[tuple[Subject, Finding]]:
    hurried = settings.database.model_copy(update={"statement_timeout_ms": STATEMENT_TIMEOUT_MS})
    engine = database.connect(settings.database if options.subjects else hurried)
    try:
        house = Installation(
            settings,
            database.sessions(engine),
            (options.portal or settings.portal.loopback).rstrip("/"),
            (options.gateway or settings.proxy.loopback).rstrip("/"),
            options.data,
            is_quick=not options.subjects,
        )
        wanted = [one for one in SUBJECTS if not options.subjects or one.name in options.subjects]
        yield from runner.findings(wanted, house)
    finally:
        engine.dispose()


def _without_settings(options: argparse.Namespace, reason: str) -> Iterator[tuple[Subject, Finding]]:
    """Tell what can be told about a house whose settings cannot be read."""
    if not options.subjects or VERSIONS.name in options.subjects:
        yield from ((VERSIONS, finding) for finding in versions.examine(None))
    for line in reason.splitlines():
        do = "Correct it in config.toml or in the environment; nothing else can be examined before."
        yield SETTINGS, Finding("The settings are valid", False, line, do, Section.SETTINGS)


def _facts(subject: Subject, finding: Finding, hidden: set[str]) -> dict[str, str]:
    facts = {"subject": subject.name, "what": finding.what, "level": str(finding.level), "seen": finding.seen}
    if not finding.is_well:
        facts |= {"do": finding.do, "see": f"{TROUBLESHOOTING}#{finding.see}" if finding.see else ""}
    for secret in hidden:
        facts = {name: text.replace(secret, "***") for name, text in facts.items()}
    return facts


def _lines(facts: dict[str, str]) -> Iterator[str]:
    yield f"  {facts['level']:<8} {facts['what']}: {facts['seen']}"
    if facts.get("do"):
        yield f"           -> {facts['do']}"
    if facts.get("see"):
        yield f"              {facts['see']}"


def _summary(counts: dict[Level, int]) -> str:
    if not counts[Level.BAD] and not counts[Level.WARNING]:
        return f"{counts[Level.OK]} findings, all well."
    return f"{counts[Level.OK]} findings are well, {counts[Level.WARNING]} warnings, {counts[Level.BAD]} bad."


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./zenzefi doctor",
        description=__doc__,
        epilog="Subjects: " + "; ".join(f"{subject.name}: {subject.about}" for subject in SUBJECTS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ", ".join(subject.name for subject in SUBJECTS)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"some of {names}")
    parser.add_argument("--portal", metavar="URL", help="where the portal answers; from the settings if not given")
    parser.add_argument("--gateway", metavar="URL", help="where the proxy answers; from the settings if not given")
    parser.add_argument("--data", type=Path, default=DATA, help="the data folder of the installation")
    parser.add_argument("--json", action="store_true", help="write the findings as JSON")
    options = parser.parse_args(arguments)
    unknown = set(options.subjects) - {subject.name for subject in SUBJECTS} - {MOVED}
    if unknown:
        parser.error(f"there is no subject {min(unknown)!r}")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

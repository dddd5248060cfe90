"""`./zenzefi doctor [SUBJECT ...]`: check the installation, or only the named subjects.

Without a subject everything is examined, within ten seconds. Nothing is changed. Exit code 0: nothing is bad;
1: something is; 2: nothing was examined, because the settings cannot be read or the subject was removed.
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
    Subject("upstream", "does the upstream server answer", connectivity.examine_upstream),
    Subject("mail", "does the mail server accept mail", mail_server.examine),
    Subject("clocks", "this machine's clock compared with those of the servers", clocks.examine),
    Subject("certificates", "dates, names and chains", certificates.examine),
    Subject("ledger", "ledger verification, as in ./zenzefi ledger verify", ledger.examine),
    Subject("audit", "audit-log verification, as in ./zenzefi audit verify", audit_log.examine),
    Subject("queues", "workers, scheduler and queues", queues.examine),
    Subject("waiting", "pending rows in the database that jobs work on", queues.examine_pending),
    Subject("backups", "the newest backup, its checksum, and disk space for more", backups.examine),
    Subject("bucket", "copies of the backups in a bucket", connectivity.examine_bucket),
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
    """Print findings as they come, or all of them as JSON; returns the exit code."""
    printed: list[dict[str, str]] = []
    for subject, finding in findings:
        facts = _facts(subject, finding, hidden)
        if not as_json:
            if not printed or printed[-1]["subject"] != subject.name:
                print_line(f"{subject.name}: {subject.about}")
            for line in _lines(facts):
                print_line(line)
        printed.append(facts)
    counts = {level: sum(facts["level"] == level for facts in printed) for level in Level}
    if as_json:
        head = {"at": clock.now().isoformat(timespec="seconds"), "is_well": not counts[Level.BAD]}
        print_line(json.dumps(head | {"findings": printed}, indent=1))
    else:
        print_line(_summary(counts))
    return EXIT_BAD if counts[Level.BAD] else EXIT_OK


def _findings(options: argparse.Namespace, settings: Settings) -> Iterator[tuple[Subject, Finding]]:
    quick = settings.database.model_copy(update={"statement_timeout_ms": STATEMENT_TIMEOUT_MS})
    engine = database.connect(settings.database if options.subjects else quick)
    try:
        installation = Installation(
            settings,
            database.sessions(engine),
            (options.portal or settings.portal.loopback).rstrip("/"),
            (options.gateway or settings.proxy.loopback).rstrip("/"),
            options.data,
            is_quick=not options.subjects,
        )
        wanted = [one for one in SUBJECTS if not options.subjects or one.name in options.subjects]
        yield from runner.findings(wanted, installation)
    finally:
        engine.dispose()


def _without_settings(options: argparse.Namespace, reason: str) -> Iterator[tuple[Subject, Finding]]:
    """Yield the findings for an installation whose settings cannot be read."""
    if not options.subjects or VERSIONS.name in options.subjects:
        yield from ((VERSIONS, finding) for finding in versions.examine(None))
    for line in reason.splitlines():
        do = "Correct it in config.toml or in the environment; nothing else can be examined until then."
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
        return f"{counts[Level.OK]} findings, all ok."
    return f"{counts[Level.OK]} findings are ok, {counts[Level.WARNING]} warnings, {counts[Level.BAD]} bad."


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./zenzefi doctor",
        description=__doc__,
        epilog="Subjects: " + "; ".join(f"{subject.name}: {subject.about}" for subject in SUBJECTS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ", ".join(subject.name for subject in SUBJECTS)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"some of {names}")
    parser.add_argument("--portal", metavar="URL", help="address of the portal; default: from the settings")
    parser.add_argument("--gateway", metavar="URL", help="address of the proxy; default: from the settings")
    parser.add_argument("--data", type=Path, default=DATA, help="the data folder of the installation")
    parser.add_argument("--json", action="store_true", help="write the findings as JSON")
    options = parser.parse_args(arguments)
    unknown = set(options.subjects) - {subject.name for subject in SUBJECTS} - {MOVED}
    if unknown:
        parser.error(f"there is no subject {min(unknown)!r}")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

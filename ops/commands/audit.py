"""`./zenzefi audit verify | export | archive`: verify the audit log, and move its old rows to files."""

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models import clock, database
from models.config.settings import Settings
from models.database import Sessions
from models.services.audit import hash_chain, retention
from models.services.audit import verification as chain_verification
from models.services.audit.retention import ChainPart
from ops.backups import audit_exports
from ops.backups.chain_heads import FILE, ChainHeads
from ops.backups.create import recipient
from ops.backups.restore import read_identities
from ops.backups.s3 import Bucket
from ops.console import Failure, print_error, print_line
from ops.launcher.installation import DATA, connected_installation, settings_of

EXIT_OK, EXIT_INVALID, EXIT_UNKNOWN = 0, 1, 2


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0, 1 when verification failed, or 2 when it was not possible."""
    options = _parse(arguments)
    try:
        if options.command == "verify" and options.file:
            return _verify_file(settings_of(options.data), options.file, options.identity)
        with connected_installation(options.data) as settings:
            engine = database.connect(settings.database)
            try:
                return _run(options, settings, database.sessions(engine))
            finally:
                engine.dispose()
    except audit_exports.InvalidChain as fault:
        print_error(str(fault))
        return EXIT_INVALID
    except Failure as failure:
        print_error(str(failure))
    except DBAPIError as error:
        print_error(f"The audit log cannot be read: {str(error.orig).strip().splitlines()[0]}")
    return EXIT_UNKNOWN


def _run(options: argparse.Namespace, settings: Settings, sessions: Sessions) -> int:
    folder = Path(settings.backup.folder) if settings.backup.folder else None
    if options.command == "verify":
        return _verify(settings, sessions, folder, keep=options.note)
    if options.command == "export":
        return _export(settings, sessions, options.file.absolute())
    if folder is None:
        raise Failure("[backup] folder is empty: the audit log is not exported, so no row is deleted.")
    files, rows = archive(settings, sessions, folder)
    print_line(f"{files} files written to {folder}, {rows:,} rows deleted")
    return EXIT_OK


def _verify(settings: Settings, sessions: Sessions, folder: Path | None, *, keep: bool) -> int:
    heads = ChainHeads(folder) if folder else None
    known = heads.known() if heads else {}
    with sessions.begin() as session:
        report = chain_verification.verify(session, hash_chain.key_of(settings.tokens), recorded=known)
    if keep:
        # The verification runs in a read-only transaction.
        with sessions.begin() as session:
            chain_verification.record_check(session, report)
        if heads and report.is_sound:
            heads.note(report.head.number, report.head.hash)
    facts = f"{report.rows:,} rows, {report.archives} exports before them, {report.waiting} rows not chained yet"
    if report.fault:
        print_error(f"Audit log verification FAILED: {report.fault}.")
        return EXIT_INVALID
    compared = f", {len(known)} heads recorded in {FILE}" if known else ""
    print_line(
        f"The audit log is valid up to row {report.head.number:,}: {facts}{compared}; head {report.head.hash.hex()}"
    )
    return EXIT_OK


def _verify_file(settings: Settings, path: Path, identity: Path | None) -> int:
    identities = read_identities(identity) if identity else []
    head, fault = audit_exports.verify(path, hash_chain.key_of(settings.tokens), identities)
    if fault:
        print_error(f"Verification of {path.name} FAILED: {fault}.")
        return EXIT_INVALID
    print_line(f"{path.name} is valid up to row {head.number:,}; head {head.hash.hex()}")
    return EXIT_OK


def _export(settings: Settings, sessions: Sessions, path: Path) -> int:
    with sessions.begin() as session:
        _read_only(session)
        part = retention.everything_chained(session)
        if part is None:
            raise Failure("No row is in the hash chain yet.")
        made, _ = _write(settings, session, part, path)
    print_line(f"{path.parent / made.file}: rows {made.first:,} to {made.last:,}")
    return EXIT_OK


def archive(settings: Settings, sessions: Sessions, folder: Path) -> tuple[int, int]:
    """Export rows older than [audit] keep_days, then delete them; returns the number of files and rows.

    1. Rows that an interrupted run exported are deleted.
    2. A part is written and synced to disk, and uploaded to the bucket if there is one; its name is deterministic.
    3. Only then is the export recorded, and the database allows its rows to be deleted.
    """
    key, before = hash_chain.key_of(settings.tokens), clock.now() - timedelta(days=settings.audit.keep_days)
    files, deleted = 0, _delete_exported(sessions)
    while True:
        with sessions.begin() as session:
            _read_only(session)
            part = retention.due(session, before)
            if part is None:
                return files, deleted
            made, head = _write(settings, session, part, folder / f"audit-{part.first:012}-{part.last:012}")
        if settings.backup.s3_bucket:
            Bucket(settings).put(folder / made.file, audit_exports.manifest_of(folder / made.file))
        with sessions.begin() as session:
            retention.record_export(session, key, part, head, file=made.file, sha256=made.sha256)
        files += 1
        deleted += _delete_exported(sessions)


def _write(
    settings: Settings, session: Session, part: ChainPart, path: Path
) -> tuple[audit_exports.Manifest, hash_chain.Head]:
    recipients = [recipient(key) for key in settings.backup.age_recipients]
    rows = retention.rows(session, part)
    return audit_exports.write(path, part, rows, hash_chain.key_of(settings.tokens), recipients)


def _delete_exported(sessions: Sessions) -> int:
    deleted = 0
    while True:
        with sessions.begin() as session:
            batch = retention.delete_exported(session)
        if not batch:
            return deleted
        deleted += batch


def _read_only(session: Session) -> None:
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./zenzefi audit", description="Verify and export the audit log.")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="verify that no row was altered (exit code 1 if one was)")
    verify.add_argument("--file", type=Path, metavar="FILE", help="verify an export file instead of the database")
    verify.add_argument("--identity", type=Path, metavar="KEY", help="file with the age private key of the export")
    verify.add_argument("--note", action="store_true", help="store the result, and record the head beside the backups")
    export = commands.add_parser("export", help="write all chained rows into a verifiable file")
    export.add_argument("file", type=Path, metavar="FILE", help="its name, without suffix")
    old = commands.add_parser("archive", help="export rows older than [audit] keep_days, then delete them")
    for command in (verify, export, old):
        command.add_argument("--data", type=Path, default=DATA, help="the data folder of the installation")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`./zenzefi restore FILE`: replace the database by a backup, once its checksum and its ledger are verified."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psycopg2
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from models.config.settings import Settings
from ops.backups import restore as restore_backup
from ops.backups.s3 import Bucket
from ops.console import Failure, print_error, print_line
from ops.launcher.installation import DATA, connected_installation
from ops.processes.secret_files import private_folder


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0, or 1 with the database unchanged."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        with connected_installation(options.data, alone=not options.drill) as settings, ExitStack() as stack:
            dump = options.file.absolute()
            if options.from_bucket:
                room = stack.enter_context(tempfile.TemporaryDirectory(dir=_scratch_folder(settings)))
                dump = Bucket(settings).fetch(options.file.name, Path(room))
            if options.drill:
                done = restore_backup.drill(settings, dump, identities=options.identity)
            else:
                _confirm(options.yes, str(settings.database.url).rpartition("/")[2].partition("?")[0])
                done = restore_backup.restore(settings, dump, identities=options.identity, keep_old=options.keep_old)
    except Failure as failure:
        print_error(str(failure))
        return 1
    except (psycopg2.Error, DBAPIError, RedisError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        print_error(f"The restore failed: {str(reason).strip().splitlines()[0]}")
        return 1
    made = done.manifest
    print_line(
        f"Backup of {made.made_at:%Y-%m-%d %H:%M} UTC, revision {', '.join(made.revisions)}, PostgreSQL {made.server}"
    )
    verified = f"ledger verification passed ({done.report.rules} rules, {done.seconds:.1f} s)"
    print_line(f"{done.report.transfers:,} transfers; {verified}.")
    if options.drill:
        print_line("This was a drill: nothing was changed.")
    else:
        print_line("The database is restored." + (f" The previous one is kept as {done.kept}." if done.kept else ""))
        print_line("Start the platform again: it migrates the database if the backup is from an older version.")
    return 0


def _on_sigterm(*_: object) -> None:
    """Unwind, so that the scratch database is dropped."""
    raise Failure("Terminated by SIGTERM.")


def _scratch_folder(settings: Settings) -> Path | None:
    """Return a folder with space for a backup: a container's /tmp is small and in memory."""
    return private_folder(Path(settings.backup.folder)) if settings.backup.folder else None


def _confirm(sure: bool, name: str) -> None:
    if sure:
        return
    if not sys.stdin.isatty():
        raise Failure("This replaces the database. Confirm with --yes.")
    if input(f"This replaces the database {name}. Type its name to continue: ").strip() != name:
        raise Failure("Nothing was changed.")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./zenzefi restore", description="Restore a backup, or try one in a drill.")
    parser.add_argument("file", type=Path, metavar="FILE", help="the dump, with its manifest beside it")
    parser.add_argument("--drill", action="store_true", help="only try it, in a scratch database; `up` may be running")
    parser.add_argument("--identity", type=Path, metavar="KEY", help="file with the age private key")
    parser.add_argument("--from-bucket", action="store_true", help="FILE is a name in [backup] s3_bucket")
    parser.add_argument("--keep-old", action="store_true", help="keep the replaced database under another name")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument("--data", type=Path, default=DATA, help="the data folder of the installation")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`./zenzefi backup`: create a backup, upload a copy to the bucket, and delete expired backups."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import redis
from sqlalchemy.exc import DBAPIError

from models.config.settings import Settings
from models.services.monitoring import last_success
from ops.backups import manifest as backup_manifest
from ops.backups.create import create
from ops.backups.s3 import Bucket
from ops.console import Failure, Step, print_error, print_line
from ops.launcher.installation import DATA, connected_installation


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    options = _parse(arguments)
    try:
        with connected_installation(options.data) as settings:
            folder = (options.out or Path(settings.backup.folder or options.data / "backups")).absolute()
            if options.list:
                for manifest in backup_manifest.list_backups(folder):
                    print_line(
                        f"{manifest.made_at:%Y-%m-%d %H:%M} UTC  {manifest.size:>14,} bytes  {folder / manifest.file}"
                    )
                return 0
            made = run(settings, folder)
    except Failure as failure:
        print_error(str(failure))
        return 1
    except DBAPIError as error:
        print_error(f"The database cannot be backed up: {str(error.orig).strip().splitlines()[0]}")
        return 1
    if options.json:
        print_line(json.dumps(asdict(made) | {"made_at": made.made_at.isoformat()}))
    else:
        print_line(f"{folder / made.file}: {made.size:,} bytes, {made.transfers:,} transfers")
        print_line(f"Try it with ./zenzefi restore --drill {folder / made.file}")
    return 0


def run(settings: Settings, folder: Path) -> backup_manifest.Manifest:
    """Create, upload and expire backups. Raises Failure, also when only the upload failed; the backup then stays."""
    with Step("Writing the backup"):
        made = create(settings, folder)
    for old in backup_manifest.outdated(backup_manifest.list_backups(folder), settings.backup.keep_days):
        backup_manifest.remove(folder, old)
    backup_manifest.delete_partial_files(folder)
    if settings.backup.s3_bucket:
        with Step(f"Uploading to {settings.backup.s3_bucket}"), tempfile.TemporaryDirectory() as scratch:
            bucket = Bucket(settings)
            bucket.send(folder, made)
            bucket.delete_outdated(Path(scratch), settings.backup.keep_days)
    _report_success(settings, made)
    return made


def _report_success(settings: Settings, made: backup_manifest.Manifest) -> None:
    """Record the success for the metrics; without Redis the backup is still good."""
    try:
        with redis.Redis.from_url(settings.redis.url, socket_timeout=2, socket_connect_timeout=2) as client:
            client.set(last_success.BACKUP_KEY, last_success.backup_as_json(made.made_at, made.size))
    except redis.RedisError as error:
        print_error(f"The metrics do not show this backup: Redis does not answer ({type(error).__name__}).")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./zenzefi backup", description="Back up the database.")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder; default: [backup] folder")
    parser.add_argument("--list", action="store_true", help="list existing backups, newest first")
    parser.add_argument("--json", action="store_true", help="write the manifest to standard output")
    parser.add_argument("--data", type=Path, default=DATA, help="the data folder of the installation")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

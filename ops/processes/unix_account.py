"""Unix account that PostgreSQL runs as: it refuses root, so root needs another user or a user namespace."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ops.console import Failure

# Outside the namespace, files of such a process belong to root; inside, to an ordinary user. It has no other privilege,
# and can work below a folder that only root may enter.
NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")


class Account(NamedTuple):
    """An account: the command prefix that switches to it, and the owner of its files."""

    prefix: tuple[str, ...]
    uid: int
    gid: int
    name: str


def choose(folder: Path, program: Path) -> Account:
    """Return the account that runs PostgreSQL on this folder, which is created for it.

    Raises Failure when the folder belongs to another user, or no account of root can reach both folder and program.
    """
    current = os.geteuid()
    owner = folder.stat().st_uid if folder.exists() and any(folder.iterdir()) else None
    if current != 0:
        if owner not in {None, current}:
            raise Failure(f"{folder} belongs to user {owner}; run as that user, or use another --data.")
        folder.mkdir(mode=0o700, exist_ok=True)
        return Account((), current, os.getegid(), "")
    for account in _for_root(owner):
        folder.mkdir(mode=0o700, exist_ok=True)
        if owner is None:
            os.chown(folder, account.uid, account.gid)
        if _can_run(account, folder, program):
            return account
    raise Failure(
        f"PostgreSQL refuses to run as root, and here neither another user can reach {folder} and {program.parent} nor"
        " are user namespaces allowed: run as an ordinary user, choose another --data, or set DATABASE_URL."
    )


def _for_root(owner: int | None) -> Iterator[Account]:
    """Yield accounts for root to try: the owner of existing data, else an unprivileged user, then a user namespace."""
    if owner is None:
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            yield _as_user(entry)
            break
    elif owner != 0:
        try:
            yield _as_user(pwd.getpwuid(owner))
        except KeyError:
            raise Failure(f"The PostgreSQL data belongs to user {owner}, who does not exist on this machine.") from None
    if owner in {None, 0}:
        yield Account(NAMESPACE, 0, 0, "")


def _as_user(entry: pwd.struct_passwd) -> Account:
    uid, gid = entry.pw_uid, entry.pw_gid
    return Account(("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--"), uid, gid, entry.pw_name)


def _can_run(account: Account, folder: Path, program: Path) -> bool:
    """Return whether the account can write to the folder and start the program."""
    if shutil.which(account.prefix[0]) is None:
        return False
    for command in (["test", "-w", str(folder), "-a", "-x", str(folder)], [str(program), "--version"]):
        try:
            subprocess.run([*account.prefix, *command], check=True, capture_output=True, cwd="/", timeout=20)
        except (OSError, subprocess.SubprocessError):
            return False
    return True

"""As whom PostgreSQL runs: it refuses to run as root, so root needs another user or a user namespace."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ops.console import Failure

# Files of such a process belong to root outside, and to an ordinary user as it sees them. It keeps no privilege but
# owning them, and can work below a folder that only root may enter.
NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")


class Account(NamedTuple):
    """How to run a program as somebody: a prefix for its command, and who owns its files."""

    prefix: tuple[str, ...]
    uid: int
    gid: int
    name: str


def choose(folder: Path, program: Path) -> Account:
    """Return the account that runs PostgreSQL on this folder; the folder exists afterwards and is that account's.

    Raises Failure when the folder is somebody else's, or nothing that root can do reaches both folder and program.
    """
    me = os.geteuid()
    kept = folder.stat().st_uid if folder.exists() and any(folder.iterdir()) else None
    if me != 0:
        if kept not in {None, me}:
            raise Failure(f"{folder} belongs to user {kept}, who made it; run as that user, or use another --data.")
        folder.mkdir(mode=0o700, exist_ok=True)
        return Account((), me, os.getegid(), "")
    for account in _for_root(kept):
        folder.mkdir(mode=0o700, exist_ok=True)
        if kept is None:
            os.chown(folder, account.uid, account.gid)
        if _can_run(account, folder, program):
            return account
    raise Failure(
        f"PostgreSQL refuses to run as root, and here neither another user can reach {folder} and {program.parent} nor"
        " are user namespaces allowed: run as an ordinary user, choose another --data, or set DATABASE_URL."
    )


def _for_root(owner: int | None) -> Iterator[Account]:
    """Yield what root can try: for kept data the owner's account, else an unprivileged user before a namespace."""
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
            raise Failure(f"The PostgreSQL data belong to user {owner}, whom this machine does not know.") from None
    if owner in {None, 0}:
        yield Account(NAMESPACE, 0, 0, "")


def _as_user(entry: pwd.struct_passwd) -> Account:
    uid, gid = entry.pw_uid, entry.pw_gid
    return Account(("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--"), uid, gid, entry.pw_name)


def _can_run(account: Account, folder: Path, program: Path) -> bool:
    """Try it: the folder must be writable and the program must start."""
    if shutil.which(account.prefix[0]) is None:
        return False
    for command in (["test", "-w", str(folder), "-a", "-x", str(folder)], [str(program), "--version"]):
        try:
            subprocess.run([*account.prefix, *command], check=True, capture_output=True, cwd="/", timeout=20)
        except (OSError, subprocess.SubprocessError):
            return False
    return True

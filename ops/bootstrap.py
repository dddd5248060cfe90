"""Create the virtual environment in which every command runs. Needs only the standard library of Python 3.9.

The environment is `.venv` in the repository (ZENZEFI_VENV names another folder). A stamp file lists the requirements
that it satisfies, so that a second start does nothing. A marker file exists while packages are being installed: where
it is found, the installation was interrupted and the environment is rebuilt.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ops.console import Failure, Step
from ops.package_installer import install, kill_with_parent
from ops.pythons import OLDEST, Python, find_python, probe

REPOSITORY = Path(__file__).resolve().parent.parent
REQUIREMENTS = {
    "run": ("requirements.txt",),
    "mcp": ("requirements.txt", "requirements-mcp.txt"),
    "test": ("requirements.txt", "requirements-mcp.txt", "requirements-dev.txt"),
    "fuzz": ("ops/dev/fuzz/requirements.txt",),
    "load": ("ops/dev/load/requirements.txt",),
}
# Modules that together import whatever runs.
PARTS = "ops.launcher.up, ops.launcher.first_run, portal, addon.worker, jobs.worker"
STAMP = "zenzefi-stamp.json"
INSTALLING = "zenzefi-installing"
NEEDED_BYTES = 600 * 1024 * 1024


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the environment, which may not exist yet."""
    return Path(environ.get("ZENZEFI_VENV") or REPOSITORY / ".venv").absolute()


def ensure(kind: str, venv: Path | None = None) -> str:
    """Return the Python of an environment that satisfies the requirements of `kind`, creating it when needed.

    Raises Failure when no Python is found, or the packages cannot be installed.
    """
    venv = venv or folder()
    if is_ready(venv, kind):
        return str(venv / "bin" / "python")
    with _install_lock():
        if not is_ready(venv, kind):
            make(venv, kind)
    return str(venv / "bin" / "python")


def is_ready(venv: Path, kind: str) -> bool:
    """Return whether the environment was completed for exactly these requirements and its Python can be run."""
    finished = not (venv / INSTALLING).exists() and _stamp(venv).get(kind) == digest(kind)
    return finished and os.access(venv / "bin" / "python", os.X_OK) and _points_to_this_repository(venv)


def digest(kind: str) -> str:
    """Return the hash of the requirements files of `kind`."""
    total = hashlib.sha256()
    for name in REQUIREMENTS[kind]:
        total.update((REPOSITORY / name).read_bytes())
    return total.hexdigest()


def make(venv: Path, kind: str) -> None:
    """Create or repair the environment and install the requirements of `kind`."""
    began_but_unfinished = (venv / INSTALLING).exists()
    usable = not began_but_unfinished and os.access(venv / "bin" / "python", os.X_OK)
    python = None if usable else find_python(os.environ)
    try:
        if began_but_unfinished or (_stamp(venv) and not usable):
            with Step("Removing the unfinished environment"):
                shutil.rmtree(venv)
        venv.mkdir(parents=True, exist_ok=True)
        _check_space(venv)
        stamp = _stamp(venv)
        (venv / INSTALLING).touch()
        if python is not None:
            _create(venv, python)
        elif not stamp:
            _accept_existing(venv)
        _install(venv, kind)
        _make_importable(venv)
        if kind in {"run", "test"}:
            _compile(venv)
        satisfied = [name for name in REQUIREMENTS if set(REQUIREMENTS[name]) <= set(REQUIREMENTS[kind])]
        stamp.update((name, digest(name)) for name in satisfied)
        _write(venv / STAMP, json.dumps(stamp))
        (venv / INSTALLING).unlink()
    except OSError as error:
        raise Failure(
            f"The environment {venv} cannot be created: {error.strerror or error}."
            " Set ZENZEFI_VENV to a writable folder."
        ) from None


def _create(venv: Path, python: Python) -> None:
    with Step(f"Creating .venv with Python {python.name}"):
        done = subprocess.run(
            [*kill_with_parent(), python.path, "-I", "-m", "venv", str(venv)],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines() or ["no reason was given"]
        raise Failure(f"{python.path} could not create {venv}: {reason[-1]}")


def _accept_existing(venv: Path) -> None:
    """Use an environment that was created by hand, if its Python is new enough."""
    found = probe(str(venv / "bin" / "python"))
    if found is None or found.version < OLDEST:
        (venv / INSTALLING).unlink()
        raise Failure(f"{venv} was not created by ./zenzefi and has no Python 3.12 or newer with pip; move it away.")


def _install(venv: Path, kind: str) -> None:
    files = [REPOSITORY / name for name in REQUIREMENTS[kind]]
    install(venv, files[-1], sum(map(_pins, files)))


def _compile(venv: Path) -> None:
    """Let Python compile what the platform imports, once; parts that start side by side would each compile it."""
    with Step("Compiling") as step:
        command = [*kill_with_parent(), str(venv / "bin" / "python"), "-P", "-c", f"import {PARTS}"]
        compiling = subprocess.Popen(
            command,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while compiling.poll() is None:
                time.sleep(0.1)
                step.tick()
        finally:
            compiling.kill()
            compiling.wait()


def _pins(requirements: Path) -> int:
    """Return how many packages a file pins; a package pinned for two Pythons counts once."""
    return len(set(re.findall(r"^([A-Za-z0-9_.-]+)==", requirements.read_text(encoding="utf-8"), re.MULTILINE)))


def _path_file(venv: Path) -> Path | None:
    return next((packages / "zenzefi.pth" for packages in venv.glob("lib/python3.*/site-packages")), None)


def _points_to_this_repository(venv: Path) -> bool:
    """Return whether the environment imports from this repository, which may have been moved."""
    path_file = _path_file(venv)
    try:
        return path_file is not None and path_file.read_text(encoding="utf-8").strip() == str(REPOSITORY)
    except OSError:
        return False


def _make_importable(venv: Path) -> None:
    """Add the repository to the environment's path; an editable install would have to download a build tool."""
    path_file = _path_file(venv)
    if path_file is None:
        raise Failure(f"{venv} is not a Python environment; move it away, or set ZENZEFI_VENV to another folder.")
    _write(path_file, f"{REPOSITORY}\n")


def _stamp(venv: Path) -> dict[str, str]:
    try:
        stamp = json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write(path: Path, text: str) -> None:
    """Replace a file atomically."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def _check_space(venv: Path) -> None:
    free = shutil.disk_usage(venv).free
    if free < NEEDED_BYTES and not _stamp(venv):
        raise Failure(f"Only {free // 2**20} MB are free for {venv}; the packages need {NEEDED_BYTES // 2**20} MB.")


@contextlib.contextmanager
def _install_lock() -> Iterator[None]:
    """Let one process at a time create the environment, by a lock on the repository's folder."""
    handle = os.open(REPOSITORY, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with Step("Waiting for another zenzefi that is installing") as step:
            while True:
                time.sleep(0.5)
                step.tick()
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for Python programs of this repository."""
    passed = {name: value for name, value in environ.items() if name not in {"PYTHONHOME", "PYTHONSTARTUP"}}
    passed.update(PYTHONPATH=str(REPOSITORY), PYTHONUNBUFFERED="1", TZ="UTC")
    # No byte code is written into a repository that is read-only or another user's.
    if not os.access(REPOSITORY, os.W_OK) or REPOSITORY.stat().st_uid != os.geteuid():
        passed["PYTHONDONTWRITEBYTECODE"] = "1"
    return passed


def run(kind: str, module: str, arguments: list[str]) -> None:
    """Replace this process by the command's module, in its environment. Returns only by raising Failure."""
    # An MCP server speaks its protocol on standard output.
    with contextlib.redirect_stdout(sys.stderr if kind == "mcp" else sys.stdout):
        python = ensure(kind)
    environment = child_environment()
    sys.stdout.flush()
    try:
        # -P: a folder in the current directory that is named like one of our packages must not be imported.
        os.execve(python, [python, "-P", "-m", module, *arguments], environment)  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise Failure(f"{python} cannot be run: {error.strerror}; remove {folder()} and try again.") from None

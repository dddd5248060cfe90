"""Makes the environment in which every command runs. Needs only the standard library of Python 3.9.

The environment is `.venv` in the repository (ZENZEFI_VENV names another place). A stamp in it says which requirements
it satisfies, so that a second start does nothing. A mark stands in it while packages are being installed: whoever
finds the mark knows that an installation was cut short, and makes the environment afresh.
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
from ops.pythons import OLDEST, Python, find_python, probe

REPOSITORY = Path(__file__).resolve().parent.parent
REQUIREMENTS = {
    "run": ("requirements.txt",),
    "mcp": ("requirements.txt", "requirements-mcp.txt"),
    "test": ("requirements.txt", "requirements-mcp.txt", "requirements-dev.txt"),
    "fuzz": ("ops/dev/fuzz/requirements.txt",),
    "load": ("ops/dev/load/requirements.txt",),
}
STAMP = "zenzefi-stamp.json"
INSTALLING = "zenzefi-installing"
LOG = "zenzefi-install.log"
NEEDED_BYTES = 600 * 1024 * 1024


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the environment is, or will be."""
    return Path(environ.get("ZENZEFI_VENV") or REPOSITORY / ".venv").absolute()


def ensure(kind: str, venv: Path | None = None) -> str:
    """Return the Python of an environment that satisfies the requirements of `kind`, making it where needed.

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
    """Tell whether the environment was finished for these very requirements and its Python can be run."""
    finished = not (venv / INSTALLING).exists() and _stamp(venv).get(kind) == digest(kind)
    return finished and os.access(venv / "bin" / "python", os.X_OK) and _points_to_this_repository(venv)


def digest(kind: str) -> str:
    """Return the hash of the files that say what `kind` requires."""
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
        satisfied = [name for name in REQUIREMENTS if set(REQUIREMENTS[name]) <= set(REQUIREMENTS[kind])]
        stamp.update((name, digest(name)) for name in satisfied)
        _write(venv / STAMP, json.dumps(stamp))
        (venv / INSTALLING).unlink()
    except OSError as error:
        raise Failure(
            f"The environment {venv} cannot be made: {error.strerror or error}."
            " Set ZENZEFI_VENV to a folder that you may write to."
        ) from None


def _create(venv: Path, python: Python) -> None:
    with Step(f"Creating .venv with Python {python.name}"):
        done = subprocess.run(
            [*_kill_with_parent(), python.path, "-I", "-m", "venv", str(venv)],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines() or ["no reason was given"]
        raise Failure(f"{python.path} could not create {venv}: {reason[-1]}")


def _accept_existing(venv: Path) -> None:
    """Use an environment that somebody made by hand, if its Python will do."""
    found = probe(str(venv / "bin" / "python"))
    if found is None or found.version < OLDEST:
        (venv / INSTALLING).unlink()
        raise Failure(f"{venv} was not made by ./zenzefi and has no Python 3.12 or newer with pip; move it away.")


def _install(venv: Path, kind: str) -> None:
    """Run pip, showing how many packages it has come to; what it says goes to a log in the environment."""
    wanted = sum(_pins(REPOSITORY / name) for name in REQUIREMENTS[kind])
    command = [*_kill_with_parent(), str(venv / "bin" / "python"), "-I", "-m", "pip", "install"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-r"]
    command += [str(REPOSITORY / REQUIREMENTS[kind][-1])]
    log = venv / LOG
    with Step("Installing packages") as step, log.open("w", encoding="utf-8") as output:
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            while pip.poll() is None:
                time.sleep(0.2)
                step.tick(_progress(log, wanted))
        finally:
            pip.kill()
            pip.wait()
    if pip.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("ERROR: ")] or lines[-1:] or ["it said nothing"]
        raise Failure(f"The packages could not be installed: {errors[-1]} (pip's own words: {log})")


def _progress(log: Path, wanted: int) -> str:
    """Say how many packages pip has come to, from what it has written so far."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if "\nInstalling collected packages" in text:
        return "unpacking"
    seen = len(re.findall(r"^(?:Collecting|Requirement already satisfied:) ", text, re.MULTILINE))
    return f"{min(seen, wanted)} of {wanted}"


def _pins(requirements: Path) -> int:
    """Count the packages that a file pins; a package pinned for two Pythons counts once."""
    return len(set(re.findall(r"^([A-Za-z0-9_.-]+)==", requirements.read_text(encoding="utf-8"), re.MULTILINE)))


def _path_file(venv: Path) -> Path | None:
    return next((packages / "zenzefi.pth" for packages in venv.glob("lib/python3.*/site-packages")), None)


def _points_to_this_repository(venv: Path) -> bool:
    """Tell whether the environment imports from where the repository is now; it may have been moved."""
    path_file = _path_file(venv)
    try:
        return path_file is not None and path_file.read_text(encoding="utf-8").strip() == str(REPOSITORY)
    except OSError:
        return False


def _make_importable(venv: Path) -> None:
    """Put the repository on the environment's path; an editable install would have to download a build tool."""
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
    """Replace a file at once, so that nobody reads half of it."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def _check_space(venv: Path) -> None:
    free = shutil.disk_usage(venv).free
    if free < NEEDED_BYTES and not _stamp(venv):
        raise Failure(f"Only {free // 2**20} MB are free for {venv}; the packages need {NEEDED_BYTES // 2**20} MB.")


def _kill_with_parent() -> list[str]:
    """Return the prefix that ends a program with the launcher, where the system has one."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


@contextlib.contextmanager
def _install_lock() -> Iterator[None]:
    """Let one process at a time make the environment; the repository's own folder is the lock."""
    handle = os.open(REPOSITORY, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network folders know no locks
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
    # In a repository that is read-only, or another user's, no byte code is left behind.
    if not os.access(REPOSITORY, os.W_OK) or REPOSITORY.stat().st_uid != os.geteuid():
        passed["PYTHONDONTWRITEBYTECODE"] = "1"
    return passed


def run(kind: str, module: str, arguments: list[str]) -> None:
    """Become the command's own program, in the environment made for it. Returns only by raising Failure."""
    # What speaks a protocol on standard output must not be talked over.
    with contextlib.redirect_stdout(sys.stderr if kind == "mcp" else sys.stdout):
        python = ensure(kind)
    environment = child_environment()
    sys.stdout.flush()
    try:
        # -P: a folder named like one of our packages in the current directory must not be imported.
        os.execve(python, [python, "-P", "-m", module, *arguments], environment)  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise Failure(f"{python} cannot be run: {error.strerror}; remove {folder()} and try again.") from None

"""Find a Python that the platform runs on. Needs only the standard library of Python 3.9."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ops.console import Failure

OLDEST = (3, 12)
# The platform is developed on 3.13; newer versions are tried last.
PREFERRED = ("3.13", "3.12")
NEWER = ("3.14", "3.15", "3.16")
# Debian ships `venv` and `ensurepip` in a separate package; an interpreter without them is unusable here.
PROBE_CODE = "import sys, ssl, venv, ensurepip; print(sys.version_info[0], sys.version_info[1], sys.executable)"


class Python(NamedTuple):
    """An interpreter that could be run."""

    path: str
    version: tuple[int, int]

    @property
    def name(self) -> str:
        """The version, such as 3.13."""
        return f"{self.version[0]}.{self.version[1]}"


def find_python(environ: Mapping[str, str]) -> Python:
    """Return the first usable Python, 3.13 before 3.12 before anything newer.

    Raises Failure, which lists the searched folders and the unusable candidates.
    """
    unusable: list[str] = []
    for candidate in dict.fromkeys(candidates(environ)):
        found = probe(candidate)
        if found is None:
            unusable.append(candidate)
        elif found.version >= OLDEST:
            return found
    broken = f" (found but not usable, or without its venv module: {', '.join(unusable)})" if unusable else ""
    raise Failure(
        "Python 3.12 or newer is needed and none was found: looked for python3.13, python3.12 and newer on PATH"
        f" and in {pyenv_root(environ)}/versions{broken}."
    )


def candidates(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield paths where a Python may be, best first; none of them has been run yet."""
    folders = [folder for folder in environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    for version in PREFERRED + NEWER:
        name = f"python{version}"
        yield from _executables(Path(folder, name) for folder in folders)
        yield from _executables(_pyenv_versions(environ, version))
    yield from _executables(Path(folder, "python3") for folder in folders)
    yield sys.executable


def probe(path: str) -> Python | None:
    """Run the candidate and return it; None when it cannot be run, as with stale shims of pyenv."""
    try:
        answer = subprocess.run(
            [path, "-I", "-c", PROBE_CODE], capture_output=True, text=True, timeout=30, cwd="/", check=True
        )
        major, minor, executable = answer.stdout.strip().split(" ", 2)
        return Python(executable, (int(major), int(minor)))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def pyenv_root(environ: Mapping[str, str]) -> str:
    """Return the folder where pyenv keeps its versions."""
    return environ.get("PYENV_ROOT") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".pyenv")


def _pyenv_versions(environ: Mapping[str, str], version: str) -> list[Path]:
    """Return pyenv's interpreters of one minor version, the newest patch first."""
    wanted = re.compile(re.escape(version) + r"\.(\d+)$")
    try:
        folders = [folder for folder in Path(pyenv_root(environ), "versions").iterdir() if wanted.match(folder.name)]
    except OSError:
        return []
    folders.sort(key=lambda folder: int(folder.name.rpartition(".")[2]), reverse=True)
    return [folder / "bin" / f"python{version}" for folder in folders]


def _executables(paths: Iterable[Path]) -> Iterator[str]:
    return (str(path) for path in paths if os.access(path, os.X_OK))

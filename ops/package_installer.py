"""Install packages into a virtual environment: with uv if possible, else with pip. Python 3.9, standard library only.

uv needs a fraction of pip's processor time. It is used as found on PATH, or as its wheel, which pip downloads into a
temporary folder. pip's own configuration (indexes, constraints, certificates) is passed on to it.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ops.console import Failure, Step

LOG = "zenzefi-install.log"
UV = "uv==0.13.8"
# Fewer packages are installed by pip, since uv itself would be one more.
MANY = 10
# pip's options, and what uv calls them.
_OPTIONS = {
    "constraint": "--constraint",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "index-url": "--default-index",
    "trusted-host": "--allow-insecure-host",
}
_VARIABLES = {"cert": "SSL_CERT_FILE", "default-timeout": "UV_HTTP_TIMEOUT", "timeout": "UV_HTTP_TIMEOUT"}
# Options of pip that change nothing in what is installed.
_IRRELEVANT = {
    "cache-dir", "disable-pip-version-check", "no-cache-dir", "no-color", "no-input", "no-python-version-warning",
    "progress-bar", "quiet", "require-virtualenv", "retries", "root-user-action", "verbose",
}  # fmt: skip


def install(venv: Path, requirements: Path, wanted: int) -> None:
    """Install a requirements file, which lists `wanted` packages. Raises Failure with the last error of pip."""
    if wanted >= MANY and _install_with_uv(venv, requirements):
        return
    log = venv / LOG
    command = [*_pip(venv), "install", "--progress-bar", "off", "--no-compile", "-r", str(requirements)]
    with Step("Installing packages") as step:
        code = _run(command, log, step, lambda: _progress(log, wanted))
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("ERROR: ")] or lines[-1:] or ["no output"]
        raise Failure(f"The packages could not be installed: {errors[-1]} (log of pip: {log})")


def kill_with_parent() -> list[str]:
    """Return the command prefix that kills a program when the launcher dies, where the system has one."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def uv_options(configuration: str) -> tuple[list[str], dict[str, str]] | None:
    """Translate the output of `pip config list` to options and variables of uv; None if uv has no such option."""
    options: list[str] = []
    variables: dict[str, str] = {}
    for name, value in _effective(configuration).items():
        if name in _OPTIONS:
            options += [part for each in value.split() for part in (_OPTIONS[name], each)]
        elif name in _VARIABLES:
            variables[_VARIABLES[name]] = value
        elif name not in _IRRELEVANT:
            return None
    return options, variables


def _effective(configuration: str) -> dict[str, str]:
    """Return pip's settings by name: those of the command before global ones, and variables before both."""
    found: dict[str, tuple[int, str]] = {}
    for line in configuration.splitlines():
        key, _, quoted = line.partition("=")
        section, _, name = key.rpartition(".")
        if section not in {"global", "install", ":env:"}:
            continue
        try:
            value = str(ast.literal_eval(quoted))
        except (ValueError, SyntaxError):
            value = quoted
        rank = ("global", "install", ":env:").index(section)
        if name not in found or rank >= found[name][0]:
            found[name] = (rank, value)
    return {name: value for name, (_, value) in found.items()}


def _install_with_uv(venv: Path, requirements: Path) -> bool:
    """Try to install with uv; pip repeats what fails, and reports why."""
    translated = uv_options(_output([*_pip(venv), "config", "list"]))
    if translated is None:
        return False
    options, variables = translated
    log = venv / LOG
    with tempfile.TemporaryDirectory(prefix="zenzefi-uv-") as folder, Step("Installing packages with uv") as step:
        uv = shutil.which("uv") or _downloaded_uv(venv, Path(folder), step)
        if uv is None:
            return False
        command = [*kill_with_parent(), uv, "pip", "install", "--python", str(venv / "bin" / "python")]
        # pip takes the best version of all indexes; uv by default takes that of the first index that has the package.
        command += ["--index-strategy", "unsafe-best-match", "--no-config", *options, "-r", str(requirements)]
        return _run(command, log, step, lambda: "", {**os.environ, **variables}) == 0


def _downloaded_uv(venv: Path, folder: Path, step: Step) -> str | None:
    """Download the wheel of uv; return its program, or None when there is none for this machine."""
    command = [*_pip(venv), "install", "--quiet", "--progress-bar", "off", "--no-compile", "--no-deps"]
    command += ["--only-binary", ":all:", "--target", str(folder), UV]
    _run(command, venv / LOG, step, lambda: "downloading uv")
    program = folder / "bin" / "uv"
    return str(program) if os.access(program, os.X_OK) else None


def _pip(venv: Path) -> list[str]:
    command = [*kill_with_parent(), str(venv / "bin" / "python"), "-I", "-m", "pip"]
    return [*command, "--disable-pip-version-check", "--no-input"]


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout


def _run(
    command: Sequence[str], log: Path, step: Step, progress: Callable[[], str], environ: Mapping[str, str] | None = None
) -> int:
    """Run a program with its output in the log, showing the progress; return its exit code."""
    with log.open("w", encoding="utf-8") as output:
        program = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environ
        )
        try:
            while program.poll() is None:
                time.sleep(0.2)
                step.tick(progress())
        finally:
            program.kill()
            program.wait()
    return program.returncode


def _progress(log: Path, wanted: int) -> str:
    """Return the progress of pip, from its output so far."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if "\nInstalling collected packages" in text:
        return "unpacking"
    seen = len(re.findall(r"^(?:Collecting|Requirement already satisfied:) ", text, re.MULTILINE))
    return f"{min(seen, wanted)} of {wanted}"

"""`./zenzefi test`: linters and tests, on a temporary PostgreSQL and Redis.

Without arguments: ruff, mypy --strict, then all tests with line coverage, in parallel processes, since most tests
wait more than they compute. With arguments: only pytest, with those arguments.
`--soak` adds the long runs, which read ZENZEFI_SOAK, and measures branches, too.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from ops.bootstrap import REPOSITORY, child_environment
from ops.console import Failure, Step, print_error, print_line
from ops.processes import stale
from ops.processes.child import MARK, kill_with_parent
from ops.servers import PostgresServer, RedisServer

CHECKS = (
    ("ruff check", ("ruff", "check", ".", "zenzefi")),
    ("ruff format", ("ruff", "format", "--check", ".", "zenzefi")),
    ("mypy --strict", ("mypy",)),
)
MEASURED = ("addon", "portal", "models", "jobs")
COVERED = [*(f"--cov={package}" for package in MEASURED), "--cov-fail-under=85"]
BRANCHES = "--cov-branch"
# Measures lines almost without cost (sys.monitoring); before Python 3.14 it cannot measure branches.
FAST_COVERAGE = {"COVERAGE_CORE": "sysmon"}
# Each pytest process has a Redis of its own, since tests empty it; databases carry the process's id in their names.
PROCESSES = 3
SIDE_BY_SIDE = [f"--numprocesses={PROCESSES}", "--dist=loadfile", "--no-loadscope-reorder"]
# Settings of a real installation must not reach the tests.
FOREIGN = ("ZENZEFI_", "DATABASE_URL", "REDIS_URL", "PG")
# The Redis of each pytest process, in the order of their numbers (tests/conftest.py).
REDIS_URLS = "ZENZEFI_TEST_REDIS_URLS"
KEPT = ("ZENZEFI_VENV", "ZENZEFI_SERVERS", "ZENZEFI_SOAK")


class Terminated(Exception):
    """The test run was terminated."""


def main(arguments: Sequence[str]) -> int:
    """Run the checks and the tests; returns the exit code."""
    wanted = [argument for argument in arguments if argument != "--soak"]
    if wanted in (["-h"], ["--help"]):
        print_line("usage: ./zenzefi test [--soak] [pytest arguments]\n")
        print_line(__doc__ or "")
        return 0
    soak = len(wanted) < len(arguments)
    environment = _environment(os.environ, soak=soak)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        if not wanted:
            _check(environment)
        return _test(wanted or [*COVERED, *([BRANCHES] if soak else []), *SIDE_BY_SIDE], environment)
    except Failure as failure:
        print_error(str(failure))
    except (KeyboardInterrupt, Terminated):
        print_error("The test run was interrupted.")
    return 1


def _environment(environ: Mapping[str, str], *, soak: bool) -> dict[str, str]:
    environment = {
        name: value
        for name, value in child_environment(environ).items()
        if name in KEPT or not name.startswith(FOREIGN)
    }
    return environment | ({"ZENZEFI_SOAK": "1"} if soak else FAST_COVERAGE)


def _check(environment: Mapping[str, str]) -> None:
    """Run ruff and mypy. Raises Failure after printing their output."""
    for name, command in CHECKS:
        with Step(name):
            done = subprocess.run(
                [sys.executable, "-P", "-m", *command], cwd=REPOSITORY, env=environment, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        if done.returncode != 0:
            print_line(done.stdout)
            raise Failure(f"{name} failed; no test was run.")


def _test(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run pytest on servers in a temporary folder, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="zenzefi-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o711)  # the user that PostgreSQL runs as for root must be able to pass through
        mark = str(folder)
        postgres = PostgresServer(folder / "postgres", fast=True, mark=mark)
        redises = [RedisServer(folder / f"redis{number}", fast=True, mark=mark) for number in range(PROCESSES)]
        try:
            with Step("PostgreSQL and Redis"):
                postgres.start()
                for redis in redises:
                    redis.start()
            urls = {"DATABASE_URL": postgres.url, "REDIS_URL": redises[0].url, MARK: mark}
            urls[REDIS_URLS] = " ".join(redis.url for redis in redises)
            return _pytest(arguments, {**environment, **urls})
        finally:
            # An interrupted test may have left processes behind.
            others = {*stale.with_mark(mark)} - {*stale.with_working_folder(postgres.data)}
            for redis in redises:
                others -= {*stale.with_working_folder(redis.folder)}
            stale.end(others, signal.SIGTERM, 5)
            for redis in redises:
                redis.stop()
            postgres.stop()


def _pytest(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run pytest; Ctrl-C reaches it directly."""
    command = [*kill_with_parent(signal.SIGTERM), sys.executable, "-P", "-m", "pytest", *arguments]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # pytest then tears its fixtures down
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

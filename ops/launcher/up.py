"""`./zenzefi up`: start the platform, keep it running, and stop it.

1. Lock the data folder against a second `up`, and end processes that a killed one left behind.
2. Plan secrets, settings, ports and addresses; errors are reported before anything has started.
3. Start PostgreSQL and Redis, then migrate and create the first admin, then start everything else in parallel.
4. Print the addresses; restart processes that exit; on Ctrl-C or SIGTERM stop everything in reverse order.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ops.bootstrap import REPOSITORY
from ops.console import Failure, Step, print_error, print_line
from ops.launcher.installation import DATA, Folders, lock_data_folder, save_chosen_settings
from ops.launcher.mail_tail import MailTail
from ops.launcher.plan import Options, Plan, make_plan
from ops.launcher.process_table import Parts, make_parts
from ops.launcher.startup_summary import mark_password_unseen, print_summary, remove, write_ready
from ops.launcher.supervisor import Stopped, Supervisor
from ops.processes import stale
from ops.processes.child import kill_with_parent, last_line


def main(arguments: list[str] | None = None) -> int:
    """Run until asked to stop; returns the exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    folders = Folders(options.data.absolute())
    supervisor = Supervisor(folders.run / "processes.json")
    supervisor.listen_to_signals()
    try:
        with lock_data_folder(folders):
            return _run(options, folders, supervisor)
    except Failure as failure:
        print_error(str(failure))
    except OSError as error:
        file = f" ({error.filename})" if error.filename else ""
        print_error(f"The platform cannot be started: {error.strerror or error}{file}.")
    return 1


def _run(options: Options, folders: Folders, supervisor: Supervisor) -> int:
    """Start, supervise and stop, with the data folder locked."""
    mark = str(folders.data)
    try:
        if options.ready_file is not None and not options.ready_file.parent.is_dir():
            raise Failure(f"There is no folder {options.ready_file.parent} for the ready file.")
        remove(options.ready_file)
        _end_leftovers(folders)
        plan = make_plan(options, folders, os.environ)
        save_chosen_settings(folders, plan.chosen)
        parts = make_parts(plan)
        # From here on, so that no mail of a slow start is missed.
        mails = MailTail(parts.worker.log)
        print_line("Zenzefi Proxy Platform")
        made = _start(plan, parts, supervisor)
        write_ready(options.ready_file, plan, parts, made)
        supervisor.changed = lambda: write_ready(options.ready_file, plan, parts, made)
        print_summary(plan, made)
        supervisor.watch(_tick(parts, supervisor, mails))
    except Stopped:
        pass
    finally:
        # In any case, no process or grandchild stays.
        if supervisor.children:
            print_line()
            with Step("Stopping"):
                supervisor.stop()
                stale.end(stale.with_mark(mark), signal.SIGTERM, 2)
        remove(options.ready_file)
        remove(folders.chosen)
    return 0


def _tick(parts: Parts, supervisor: Supervisor, mails: MailTail) -> Callable[[], None]:
    """Return the periodic work: print mails, and update the ready file when the proxy's workers have changed."""
    known = parts.proxy_workers

    def tick() -> None:
        nonlocal known
        mails.show()
        serving = parts.proxy_workers
        if serving and serving != known:
            with contextlib.suppress(OSError):  # a full disk must not stop running processes
                supervisor.changed()
                known = serving

    return tick


def parse(arguments: list[str]) -> Options:
    """Parse the command line; errors exit with code 2."""
    parser = argparse.ArgumentParser(prog="./zenzefi up", description="Start the platform and keep it running.")
    parser.add_argument("--data", type=Path, default=DATA, help="the data folder")
    parser.add_argument("--portal-port", type=_port, metavar="PORT", help="default: from config.toml; 0: a free port")
    parser.add_argument("--proxy-port", type=_port, metavar="PORT", help="default: from config.toml; 0: a free port")
    parser.add_argument("--workers", type=_count, metavar="N", help="proxy workers that share the port")
    parser.add_argument("--upstream", metavar="URL", help="URL of the upstream; default: a sample server")
    parser.add_argument("--ready-file", type=Path, metavar="PATH", help="file written as JSON once all parts are ready")
    read = parser.parse_args(arguments)
    return Options(read.data, read.portal_port, read.proxy_port, read.workers, read.upstream, read.ready_file)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; it must be a number from 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 1 to 64")
    return int(text)


def _end_leftovers(folders: Folders) -> None:
    """End the processes of a killed launcher: first those that use the servers, then the servers."""
    servers = stale.with_working_folder(folders.postgres.resolve() / "data")
    servers += stale.with_working_folder(folders.redis.resolve())
    found = {*stale.read_record(folders.run / "processes.json"), *stale.with_mark(str(folders.data))}
    others = found - set(servers)
    if not servers and not others:
        return
    with Step("Ending processes of an earlier run"):
        gone = stale.end(others, signal.SIGTERM, 3) and stale.end(servers, signal.SIGINT, 20)
    if not gone:
        raise Failure(f"Processes of an earlier run still use {folders.data} and cannot be ended.")


def _start(plan: Plan, parts: Parts, supervisor: Supervisor) -> dict[str, Any]:
    """Start everything in order; returns the result of ops.launcher.first_run."""
    servers = [server for server in (plan.redis, plan.postgres) if server is not None]
    if servers:
        with Step("PostgreSQL and Redis") as step:
            for server in servers:
                server.prepare()
                supervisor.check()
            supervisor.start([server.child for server in servers], waiting_for=step.tick)
    with Step("Database, first admin, demo token") as step:
        made = _prepare(plan, supervisor, step)
        mark_password_unseen(plan, made)
    with Step("Portal, proxy, jobs") as step:
        supervisor.start(parts.all, waiting_for=step.tick)
    return made


def _prepare(plan: Plan, supervisor: Supervisor, step: Step) -> dict[str, Any]:
    """Run ops.launcher.first_run and return the JSON object that it prints.

    There is no time-out: migrating a large database may take long, and each statement has a time-out of its own.
    """
    log = plan.folders.logs / "prepare.log"
    command = [*kill_with_parent(signal.SIGKILL), sys.executable, "-P", "-m", "ops.launcher.first_run"]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            env=plan.part_environment(prepares=True), cwd=REPOSITORY, start_new_session=True,
        )  # fmt: skip
    try:
        while process.poll() is None:
            supervisor.check()
            step.tick(f"see {log}")
            time.sleep(0.05)
        output = process.stdout.read() if process.stdout else b""
    finally:
        process.kill()
        process.wait()
    try:
        made = json.loads(output.decode().strip().splitlines()[-1]) if process.returncode == 0 else None
    except (ValueError, IndexError):
        made = None
    if not isinstance(made, dict):
        raise Failure(f"The database could not be prepared: {last_line(log)} (log: {log})")
    return made


if __name__ == "__main__":
    sys.exit(main())

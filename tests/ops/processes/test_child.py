"""Child processes: start, end, restart, and identification after a crash."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops.console import Failure
from ops.launcher.mail_tail import MailTail
from ops.launcher.supervisor import Supervisor
from ops.processes import ports, stale
from ops.processes.child import MARK, Child, last_line
from tests.ops.conftest import gone, wait_until

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def child(folder: Path, program: str, **more: object) -> Child:
    facts: dict[str, object] = {"stop_seconds": 0.5, "environment": {"PATH": os.environ["PATH"]}, **more}
    return Child(name="part", command=[sys.executable, "-c", program], log=folder / "part.log", **facts)  # type: ignore[arg-type]


def test_a_child_starts_and_stops(tmp_path: Path) -> None:
    part = child(tmp_path, "import time; time.sleep(60)")

    part.start()
    assert part.is_running
    part.stop()

    assert gone(part.pid)
    assert not part.is_running


def test_a_stubborn_child_is_killed(tmp_path: Path) -> None:
    part = child(tmp_path, STUBBORN, ready=lambda _: last_line(tmp_path / "part.log") == "up")
    part.start()

    part.stop()

    assert part.process is not None
    assert part.process.returncode == -signal.SIGKILL


def test_a_child_that_ends_at_once_is_reported_with_its_last_output(tmp_path: Path) -> None:
    part = child(tmp_path, "raise SystemExit('no such luck')", ready=lambda _: False)

    with pytest.raises(Failure, match="part ended with exit code 1: no such luck"):
        part.start()


def test_a_child_that_never_becomes_ready_is_ended(tmp_path: Path) -> None:
    part = child(tmp_path, "import time; time.sleep(60)", ready=lambda _: False)

    with pytest.raises(Failure, match="part made no progress for 0 s"):
        part.start(within=0.2)

    assert gone(part.pid)


def test_a_missing_program_is_reported_in_one_sentence(tmp_path: Path) -> None:
    facts = {"log": tmp_path / "log", "environment": {}, "ready": lambda _: False}
    part = Child(name="part", command=["/no/such/program"], **facts)

    with pytest.raises(Failure, match=r"part ended with .*/no/such/program"):
        part.start()


def test_a_large_log_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.processes.child.LARGEST_LOG", 3)
    (tmp_path / "part.log").write_text("long enough")
    part = child(tmp_path, "")

    part.spawn()
    part.wait(10)

    assert (tmp_path / "part.log.1").read_text() == "long enough"


def test_processes_are_found_by_the_mark_they_carry(tmp_path: Path) -> None:
    marked = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: str(tmp_path)})
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: f"{tmp_path}x"})
    try:
        wait_until(lambda: [found.pid for found in stale.with_mark(str(tmp_path))] == [marked.pid])

        assert stale.end(stale.with_mark(str(tmp_path)), signal.SIGTERM, 5)
        assert gone(marked.pid)
        assert not gone(other.pid)
    finally:
        for process in (marked, other):
            process.kill()
            process.wait()


def test_a_recycled_process_id_is_not_taken_for_the_recorded_process(tmp_path: Path) -> None:
    record = tmp_path / "processes.json"
    stale.write_record(record, {"me": os.getpid(), "gone": 2**22})
    assert [found.pid for found in stale.read_record(record)] == [os.getpid()]

    mine = stale.identify(os.getpid())
    assert mine is not None
    record.write_text(record.read_text().replace(str(mine.started), str(mine.started - 1)))
    assert stale.read_record(record) == []

    record.write_text("{half a")
    assert stale.read_record(record) == []


def test_records_of_another_boot_are_ignored(tmp_path: Path) -> None:
    record = tmp_path / "processes.json"
    stale.write_record(record, {"me": os.getpid()})
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    record.write_text(record.read_text().replace(boot, "another"))

    assert stale.read_record(record) == []


def test_a_child_that_keeps_ending_is_restarted_with_growing_delays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = child(tmp_path, "")
    supervisor = Supervisor(tmp_path / "processes.json")
    supervisor._groups.append([part])
    deadline = time.monotonic() + 2.6
    while time.monotonic() < deadline:
        if not part.is_running:
            supervisor._restart(part)
        time.sleep(0.02)
    supervisor.stop()

    said = capsys.readouterr().err
    assert "restarting it in 0.5 s" in said
    assert "restarting it in 1 s" in said
    assert "restarting it in 2 s" in said


def test_a_taken_port_is_detected() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.listen()
        assert ports.bind_error("127.0.0.1", port) == "is already taken"
    assert ports.bind_error("127.0.0.1", port) == ""
    assert ports.bind_error("203.0.113.1", port).startswith("cannot be used at 203.0.113.1")


def test_mails_in_the_log_are_shown_once_they_are_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "worker.log"
    log.write_text("mail: of an earlier run\n")
    tail = MailTail(log)
    with log.open("a") as file:
        file.write("INFO jobs.mail: mail: To alice: Hello\nINFO rq: a job about mail: done?\nmail: half")
    tail.show()
    assert capsys.readouterr().out == "mail: To alice: Hello\n"

    with log.open("a") as file:
        file.write(" a line\n")
    tail.show()
    log.write_text("mail: anew\n")
    tail.show()

    assert capsys.readouterr().out == "mail: half a line\nmail: anew\n"

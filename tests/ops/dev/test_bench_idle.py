"""The benchmark of an idle installation adds up processor time and memory, and judges them."""

import os
import subprocess
import sys
from pathlib import Path

from ops.dev.bench import idle_platform
from ops.dev.bench.idle_platform import ProcessUse
from ops.processes.child import MARK


def use(pid: int, cpu_seconds: float, *, pss_mib: float = 50.0, is_server: bool = False) -> ProcessUse:
    return ProcessUse(pid, f"part {pid}", is_server, pss_mib, cpu_seconds)


def test_time_and_memory_are_added_up_for_our_processes_and_the_servers() -> None:
    before = [use(1, 10.0), use(2, 5.0), use(3, 7.0, is_server=True)]
    after = [use(1, 10.3), use(2, 5.1, pss_mib=70.0), use(3, 7.2, is_server=True)]
    found = idle_platform.summarize(before, after, 10.0)
    assert (round(found["cpu_percent"], 6), found["pss_mib"]) == (4.0, 120.0)
    assert (round(found["servers_cpu_percent"], 6), found["servers_pss_mib"]) == (2.0, 50.0)


def test_the_time_of_a_process_that_has_exited_is_that_of_its_parent() -> None:
    before = [use(1, 10.0), use(2, 5.0)]
    after = [use(1, 15.5), use(4, 0.5)]  # 2 has used 0.5 s and exited; 4 was started
    assert round(idle_platform.summarize(before, after, 10.0)["cpu_percent"], 6) == 10.0


def test_marked_processes_are_found_with_their_memory(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import time; print('x', flush=True); time.sleep(60)"],
        env={**os.environ, MARK: str(tmp_path)},
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        [found] = idle_platform.uses(tmp_path)
        running.kill()
    assert (found.pid, found.is_server) == (running.pid, False)
    assert found.pss_mib > 1


def test_the_report_names_missed_targets() -> None:
    row = {"name": "jobs.worker", "is_server": False, "cpu_percent": 0.4, "pss_mib": 330.0}
    written = idle_platform.text(
        {
            "processes": [row],
            "cpu_percent": 0.4,
            "pss_mib": 330.0,
            "servers_cpu_percent": 0.1,
            "servers_pss_mib": 60.0,
            "starts": [{"seconds": 9.0, "cpu_seconds": 12.0}, {"seconds": 4.0, "cpu_seconds": 7.0}],
        }
    )
    lines = {line.split("  ")[0]: line for line in written.splitlines()}
    assert lines["idle processor time"].endswith("met")
    assert lines["idle memory (PSS)"].endswith("MISSED")
    assert lines["second start"].endswith("met")

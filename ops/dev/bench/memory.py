"""Memory of processes, and its growth during a measurement."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

SAMPLE_SECONDS = 0.02


def resident(pids: Sequence[int]) -> int:
    """Return the resident memory of processes in bytes; exited ones count as zero."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
    return total


def process_tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


class Growth:
    """`with Growth(pids) as growth:` samples memory; `growth.bytes` is the largest growth afterwards."""

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        self._pids = list(pids())
        self._before = self._most = resident(self._pids)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "Growth":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._most = max(self._most, resident(self._pids))

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._most = max(self._most, resident(self._pids))

    @property
    def bytes(self) -> int:
        return self._most - self._before

"""The access log: whole lines of JSON, no secrets, rotation, and an event loop that never waits."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from addon.recording import access_log
from addon.recording.access_log import AccessLog
from addon.recording.access_log_format import MASKED, format_entry, make_entry, masked_path
from addon.recording.counters import Counters
from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.tokens import revocation
from tests.addon.conftest import sell
from tests.addon.exchanges import ended_exchange, make_snapshot
from tests.addon.processes import ROOT, Proxy

SECRET = "Ab-_" * 16


def lines(path: Path) -> list[dict[str, Any]]:
    """Return every line; each must be complete."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def until[T](ask: Callable[[], T], wanted: Callable[[T], bool], seconds: float = 15) -> T:
    deadline = time.monotonic() + seconds
    while not wanted(got := ask()):
        assert time.monotonic() < deadline, got
        time.sleep(0.02)
    return got


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[AccessLog, Path, Counters]]:
    counters = Counters()
    log = AccessLog(str(tmp_path / "access.log"), counters)
    yield log, tmp_path / "access.log", counters
    log.stop()


def test_a_line_has_the_owner_the_request_and_its_outcome() -> None:
    token = make_snapshot()
    line = json.loads(format_entry(make_entry(ended_exchange(), token), 42))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "id": "0123456789abcdef-1",
        "token": "Abc12345",
        "user": str(token.user_id),
        "method": "GET",
        "path": "/certificates",
        "status": 200,
        "bytes_in": 7,
        "bytes_out": 1000,
        "ms": 20.0,
        "first_byte_ms": 10.0,
        "code": None,
        "address": "203.0.113.9",
        "worker": 42,
    }


def test_a_malformed_request_has_a_line_too() -> None:
    exchange = ended_exchange(None, status=400, code="bad_request")
    exchange.first_byte = 0.0
    line = json.loads(format_entry(make_entry(exchange, None), 1))
    assert (line["method"], line["path"], line["token"], line["user"]) == (None, None, None, None)
    assert (line["status"], line["code"], line["first_byte_ms"]) == (400, "bad_request", None)


@pytest.mark.parametrize(
    "path",
    [
        f"/{SECRET}",
        f"/a/{SECRET}/b",
        f"/x{SECRET}",
        f"/a;{SECRET}=1",
        f"/{quote(SECRET[:1], safe='')}%{ord(SECRET[1]):02x}{SECRET[2:]}",
        "/" + "".join(f"%{ord(letter):02X}" for letter in SECRET),
        "/" + "".join(f"%25{ord(letter):02X}" for letter in SECRET),
        "/" + "".join(f"%25252525{ord(letter):02X}" for letter in SECRET),
        f"/_zenzefi/enter/{SECRET[:40]}",
        f"/_zenzefi/%65nter/{SECRET[:40]}",
    ],
)
def test_possible_secrets_are_masked(path: str) -> None:
    shown = masked_path(path.encode())
    assert SECRET not in shown
    assert SECRET[:20] not in shown
    assert MASKED in shown or shown == "/_zenzefi/enter"


def test_values_from_a_client_cannot_break_the_line() -> None:
    exchange = ended_exchange(b'/"},{\\"')
    exchange.client_address = 'fe80::1%"},{"'
    line = json.loads(format_entry(make_entry(exchange, None), 1))
    assert (line["path"], line["address"]) == ('/"},{\\"', 'fe80::1%"},{"')


def test_paths_without_a_secret_are_logged_unchanged() -> None:
    for path in ("/", "/a%20b/c", "/certificates/details/1", f"/{SECRET[:63]}", '/"quoted"'):
        assert masked_path(path.encode()) == path
    assert masked_path(b"/x" * 4000) == "/x" * 749 + "/…"
    assert len(format_entry(make_entry(ended_exchange(b'/"' * 4000), make_snapshot()), 1)) < 4096


def test_a_secret_truncated_at_the_end_of_a_long_path_is_not_logged() -> None:
    for secret in (SECRET, "".join(f"%{ord(letter):02X}" for letter in SECRET)):
        assert masked_path(f"{'/x' * 740}/{secret}".encode()) == "/x" * 740 + "/…"


def test_a_path_with_nested_escapes_takes_no_longer_than_others() -> None:
    started = time.process_time()
    for _ in range(100):  # as many as a worker's loop writes down at once
        masked_path(b"/%" + b"25" * 4000)
        masked_path(b"/%" + b"25" * 700)
    assert time.process_time() - started < 0.2


def test_a_rotated_file_is_noticed_and_so_is_a_request_to_reopen(
    log: tuple[AccessLog, Path, Counters], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, path, _ = log
    writer.start()
    writer.record(ended_exchange(b"/one"), None)
    until(lambda: lines(path), lambda got: len(got) == 1)
    path.rename(path.with_suffix(".1"))
    until(path.exists, bool)  # by itself, within a second
    writer.record(ended_exchange(b"/two"), None)
    assert until(lambda: lines(path), lambda got: len(got) == 1)[0]["path"] == "/two"
    path.rename(path.with_suffix(".2"))
    monkeypatch.setattr(access_log, "POLL_INTERVAL_SECONDS", 3600)
    writer.reopen()
    until(path.exists, bool)
    assert [line["path"] for line in lines(path.with_suffix(".1"))] == ["/one"]


def test_a_full_queue_drops_and_counts(log: tuple[AccessLog, Path, Counters], monkeypatch: pytest.MonkeyPatch) -> None:
    writer, path, counters = log
    monkeypatch.setattr(access_log, "QUEUE_LINES", 10)
    for _ in range(25):
        writer.record(ended_exchange(), None)
    assert counters.take() == {("log_dropped",): 15}
    writer.start()
    until(lambda: lines(path), lambda got: len(got) == 10)


def test_lines_that_cannot_be_written_are_counted_and_the_next_ones_are_whole(tmp_path: Path) -> None:
    counters = Counters()
    writer = AccessLog("/dev/full", counters)
    writer.start()
    for _ in range(3):
        writer.record(ended_exchange(), None)

    def counted() -> int:
        writer.record(ended_exchange(), None)
        return sum(counters._pending.values())

    until(counted, lambda dropped: dropped >= 3)
    writer.stop()


def test_two_processes_on_one_pipe_write_whole_lines() -> None:
    script = (
        "from addon.recording.access_log import AccessLog; from addon.recording.counters import Counters\n"
        "from tests.addon.exchanges import ended_exchange\n"
        "log = AccessLog('-', Counters())\n"
        "log.start()\n"
        "for number in range(2000): log.record(ended_exchange(b'/%d/' % number + b'x/' * (number % 700)), None)\n"
        "log.stop()\n"
    )
    theirs, ours = os.pipe()
    writers = [subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=ours) for _ in range(2)]
    os.close(ours)
    with open(theirs) as pipe:
        written = [json.loads(line) for line in pipe]
    assert [writer.wait() for writer in writers] == [0, 0]
    for writer in writers:
        mine = [line["path"].split("/")[1] for line in written if line["worker"] == writer.pid]
        assert mine == [str(number) for number in range(2000)]


def test_stopping_writes_the_queued_lines(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    writer = AccessLog(str(path), Counters())
    writer.start()
    for number in range(2000):
        writer.record(ended_exchange(b"/%d" % number), None)
    writer.stop()
    assert [line["path"] for line in lines(path)] == [f"/{number}" for number in range(2000)]


def test_an_empty_target_writes_nothing_and_a_wrong_one_fails_at_the_start(tmp_path: Path) -> None:
    silent = AccessLog("", Counters())
    silent.start()
    silent.record(ended_exchange(), None)
    assert not silent._entries
    silent.stop()
    with pytest.raises(OSError, match="No such file"):
        AccessLog(str(tmp_path / "nowhere" / "access.log"), Counters()).start()


def test_two_real_workers_share_a_log_that_holds_no_secret(
    proxy: Proxy, committed: tuple[Settings, Sessions], tmp_path: Path
) -> None:
    settings, factory = committed
    owned = sell(factory, settings, "buyer")
    gone = sell(factory, settings, "gone")
    with factory.begin() as session:
        revocation.revoke(session, gone.user, gone.token.id, settings=settings, actor=PLATFORM)
    path = tmp_path / "access.log"
    proxy.stop()
    both = Proxy(proxy.port, {**proxy.environment, "ZENZEFI_PROXY__ACCESS_LOG": str(path)})
    workers = [both.start_worker(), both.start_worker()]
    pids = {worker.pid for worker in workers}

    def seen() -> set[int]:
        both.get("/_zenzefi/live")
        return {line["worker"] for line in lines(path)}

    def forwarded() -> list[dict[str, Any]]:
        return [line for line in lines(path) if not (line["path"] or "").startswith("/_zenzefi/")]

    try:
        until(seen, lambda got: got == pids, seconds=20)
        for _ in range(20):
            assert both.get("/bytes/500", owned.secret).status == 200
        both.get(f"/found/{owned.secret}/x?token={owned.secret}", owned.secret)
        both.request("POST", "/echo", owned.secret, body=b"x" * 300, headers={})
        both.get("/echo", gone.secret)
        both.get("/echo", "hunter2 is no token")
        both.get("/echo")
        with both.connect() as raw:
            raw.sendall(b"GARBAGE " + owned.secret.encode() + b"\r\n\r\n")
            assert raw.recv(65536).startswith(b"HTTP/1.1 400")
        written = until(forwarded, lambda got: len(got) == 26)
        assert {line["worker"] for line in written} == pids
        downloads = [line for line in written if line["path"] == "/bytes/500"]
        assert {(x["token"], x["user"], x["status"], x["bytes_in"], x["bytes_out"]) for x in downloads} == {
            (owned.token.prefix, str(owned.user.id), 200, 0, 500)
        }
        assert len({line["id"] for line in written}) == 26
        found = {(line["path"], line["code"]): line for line in written}
        assert found["/found/[masked]/x", None]["status"] == 404
        assert found["/echo", None]["bytes_in"] == 300
        assert found["/echo", "token_revoked"]["token"] == gone.token.prefix
        assert found["/echo", "token_invalid"]["token"] is None
        assert found["/echo", "token_missing"]["status"] == 401
        assert found[None, "bad_request"]["method"] is None
        assert all(line["address"] == "127.0.0.1" and line["ms"] >= 0 for line in written)
        text = path.read_text()
        assert owned.secret not in text
        assert gone.secret not in text
        assert "hunter2" not in text

        path.rename(tmp_path / "access.log.1")
        for pid in pids:
            os.kill(pid, signal.SIGUSR1)
        until(path.exists, bool)
        for _ in range(20):
            both.get("/bytes/1", owned.secret)
        after = until(forwarded, lambda got: len(got) == 20)
        assert {line["worker"] for line in after} == pids
    finally:
        both.stop()

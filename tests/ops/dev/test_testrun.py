"""`./zenzefi test`: checks, environment of the tests, and exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.bootstrap import REPOSITORY
from ops.dev import testrun


def test_settings_of_a_real_installation_do_not_reach_the_tests() -> None:
    environment = testrun._environment(
        {"ZENZEFI_UPSTREAM__URL": "https://real", "PGHOST": "real", "DATABASE_URL": "real", "ZENZEFI_VENV": "v"},
        soak=True,
    )

    assert "real" not in " ".join(environment.values())
    assert environment["ZENZEFI_VENV"] == "v"
    assert environment["ZENZEFI_SOAK"] == "1"
    assert "ZENZEFI_SOAK" not in testrun._environment({}, soak=False)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    seen: list[object] = []
    monkeypatch.setattr(testrun, "_check", lambda _: seen.append("checks"))
    monkeypatch.setattr(testrun, "_test", lambda arguments, _: seen.append(arguments) or 3)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return seen


def test_all_checks_and_coverage_run_by_default(calls: list[object]) -> None:
    assert testrun.main([]) == 3
    assert testrun.main(["--soak"]) == 3
    assert calls == [
        "checks",
        [*testrun.COVERED, *testrun.SIDE_BY_SIDE],
        "checks",
        [*testrun.COVERED, testrun.BRANCHES, *testrun.SIDE_BY_SIDE],
    ]
    assert "--cov-fail-under=85" in testrun.COVERED


def test_with_arguments_only_pytest_runs(calls: list[object]) -> None:
    assert testrun.main(["tests/models", "-k", "x"]) == 3
    assert calls == [["tests/models", "-k", "x"]]


def test_a_failed_check_ends_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(testrun, "CHECKS", (("a check", ("no_such_module",)),))
    monkeypatch.setattr("signal.signal", lambda *_: None)

    assert testrun.main([]) == 1

    output = capsys.readouterr()
    assert output.err == "a check failed; no test was run.\n"
    assert "no_such_module" in output.out


def test_a_run_has_its_own_servers_and_leaves_nothing(tmp_path: Path) -> None:
    test = tmp_path / "test_inner.py"
    test.write_text(
        "import os\n"
        "def test_inner():\n"
        f"    assert os.environ['DATABASE_URL'] != {os.environ['DATABASE_URL']!r}\n"
        "    assert os.environ['REDIS_URL']\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "ops.dev.testrun", str(test)),
            *("--rootdir", str(tmp_path), "-p", "no:cacheprovider"),
        ],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout.strip().splitlines()[-1]
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name.startswith("zenzefi-test-")) == []

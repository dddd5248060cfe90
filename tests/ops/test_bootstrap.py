"""Creation, update and repair of the virtual environment."""

import hashlib
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from ops import bootstrap
from ops.bootstrap import INSTALLING, STAMP, digest, ensure, is_ready
from ops.console import Failure
from ops.pythons import Python


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with only pip, created once and copied by every test."""
    place = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    return place


@pytest.fixture
def venv(tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of an environment for a repository without requirements, so that no network is needed."""
    copy = partial(shutil.copytree, empty, symlinks=True, dirs_exist_ok=True)
    monkeypatch.setattr(bootstrap, "_create", lambda venv, _: copy(venv))
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("requirements.txt", "requirements-mcp.txt", "requirements-dev.txt"):
        (repository / name).write_text("# nothing\n")
    monkeypatch.setattr(bootstrap, "REPOSITORY", repository)
    monkeypatch.setattr(bootstrap, "find_python", lambda _: Python(sys.executable, sys.version_info[:2]))
    return repository / ".venv"


def imports_from(python: str) -> str:
    return subprocess.run(
        [python, "-c", "import sys; print(sys.path)"], capture_output=True, text=True, check=True
    ).stdout


def test_a_new_environment_has_its_own_python(tmp_path: Path) -> None:
    bootstrap._create(tmp_path / "venv", Python(sys.executable, (3, 12)))

    assert (tmp_path / "venv/bin/python").exists()


def test_an_environment_that_cannot_be_created_is_reported_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="could not create"):
        bootstrap._create(tmp_path / "venv", Python("/bin/false", (3, 12)))


def test_an_environment_is_created_once(venv: Path) -> None:
    python = ensure("run", venv)
    stamp = (venv / STAMP).stat()

    assert ensure("run", venv) == python
    assert (venv / STAMP).stat() == stamp
    assert str(venv.parent) in imports_from(python)
    assert not (venv / INSTALLING).exists()


def test_the_tests_need_more_packages_than_running(venv: Path) -> None:
    ensure("run", venv)
    assert not is_ready(venv, "test")

    ensure("test", venv)

    assert is_ready(venv, "test")
    assert is_ready(venv, "run")


def test_changed_requirements_are_installed(venv: Path) -> None:
    ensure("run", venv)
    (venv.parent / "requirements.txt").write_text("# still nothing\n")
    assert not is_ready(venv, "run")

    ensure("run", venv)

    assert is_ready(venv, "run")


def test_an_interrupted_installation_is_repeated_from_scratch(venv: Path) -> None:
    ensure("run", venv)
    half = venv / "half-a-package"
    half.touch()
    (venv / INSTALLING).touch()
    assert not is_ready(venv, "run")

    ensure("run", venv)

    assert is_ready(venv, "run")
    assert not half.exists()


def test_a_missing_python_is_replaced(venv: Path) -> None:
    ensure("run", venv)
    (venv / "bin/python").unlink()
    (venv / "bin/python").symlink_to("/no/longer/there")

    ensure("run", venv)

    assert is_ready(venv, "run")


def test_a_moved_repository_is_imported_from_its_new_folder(
    venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure("run", venv)
    moved = venv.parent.rename(tmp_path / "moved")
    monkeypatch.setattr(bootstrap, "REPOSITORY", moved)

    python = ensure("run", moved / ".venv")

    assert str(moved) in imports_from(python)


def test_a_manually_created_environment_is_used_and_not_removed(venv: Path, empty: Path) -> None:
    shutil.copytree(empty, venv, symlinks=True)
    (venv / "mine").touch()

    ensure("run", venv)

    assert (venv / "mine").exists()


def test_a_manually_created_environment_with_an_old_python_is_rejected(venv: Path) -> None:
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").write_text("#!/bin/sh\necho 3 11 /old\n")
    (venv / "bin/python").chmod(0o755)

    with pytest.raises(Failure, match="move it away"):
        ensure("run", venv)

    assert not (venv / INSTALLING).exists()


def test_a_package_that_cannot_be_installed_is_reported_in_one_sentence(venv: Path) -> None:
    (venv.parent / "requirements.txt").write_text("./no-such-package.whl\n")

    with pytest.raises(Failure, match=r"could not be installed: ERROR: .*no-such-package") as failure:
        ensure("run", venv)

    assert "\n" not in str(failure.value)
    assert not is_ready(venv, "run")


def test_a_read_only_folder_is_reported_in_one_sentence(venv: Path) -> None:
    venv.parent.joinpath("file").touch()

    with pytest.raises(Failure, match=r"cannot be created: Not a directory\. Set ZENZEFI_VENV"):
        ensure("run", venv.parent / "file" / ".venv")


def test_a_full_disk_is_reported_in_one_sentence(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "NEEDED_BYTES", 1 << 60)

    with pytest.raises(Failure, match="MB are free"):
        ensure("run", venv)


def test_the_digest_covers_every_file_that_is_required(venv: Path) -> None:
    assert digest("run") == hashlib.sha256(b"# nothing\n").hexdigest()
    assert digest("test") == hashlib.sha256(b"# nothing\n" * 3).hexdigest()


def test_programs_run_with_the_repository_on_the_path_and_in_utc(venv: Path) -> None:
    environment = bootstrap.child_environment({"PYTHONHOME": "/elsewhere", "PATH": "/bin"})

    assert environment == {
        "PATH": "/bin", "PYTHONPATH": str(venv.parent), "PYTHONUNBUFFERED": "1", "TZ": "UTC",
    }  # fmt: skip


def test_no_byte_code_is_written_into_another_users_repository(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 54321)

    assert bootstrap.child_environment({})["PYTHONDONTWRITEBYTECODE"] == "1"

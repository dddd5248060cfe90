"""Choice of the Python interpreter, and syntax of the modules that run under an old one."""

import ast
from pathlib import Path

import pytest

from ops.bootstrap import REPOSITORY
from ops.console import Failure
from ops.pythons import Python, candidates, find_python, probe


def interpreter(path: Path, says: str = "") -> Path:
    """Create an interpreter that reports a version, or a broken shim without one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\n" if says else "#!/bin/sh\necho no such version >&2\nexit 127\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr("sys.executable", str(interpreter(tmp_path / "own/python3", "3 9 /own")))
    return {"PATH": f"{tmp_path}/one:{tmp_path}/two", "PYENV_ROOT": f"{tmp_path}/pyenv"}


def test_python_313_is_preferred_to_312_wherever_it_is(tmp_path: Path, environ: dict[str, str]) -> None:
    interpreter(tmp_path / "one/python3.12", "3 12 /path/to/3.12")
    interpreter(tmp_path / "pyenv/versions/3.13.0/bin/python3.13", "3 13 /path/to/3.13")

    assert find_python(environ) == Python("/path/to/3.13", (3, 13))


def test_a_broken_shim_does_not_hide_a_working_python(tmp_path: Path, environ: dict[str, str]) -> None:
    interpreter(tmp_path / "one/python3.13")
    interpreter(tmp_path / "one/python3.12")
    interpreter(tmp_path / "two/python3.12", "3 12 /alive")

    assert find_python(environ).path == "/alive"


def test_newer_versions_come_last(tmp_path: Path, environ: dict[str, str]) -> None:
    interpreter(tmp_path / "one/python3.14", "3 14 /newer")
    interpreter(tmp_path / "two/python3.12", "3 12 /older")

    assert find_python(environ).path == "/older"


def test_the_newest_patch_of_pyenv_comes_first(tmp_path: Path, environ: dict[str, str]) -> None:
    for patch in ("2", "10", "9"):
        interpreter(tmp_path / f"pyenv/versions/3.12.{patch}/bin/python3.12", f"3 12 /3.12.{patch}")
    (tmp_path / "pyenv/versions/3.12-dev").mkdir()

    assert find_python(environ).path == "/3.12.10"


def test_a_python3_without_a_version_in_its_name_is_accepted(tmp_path: Path, environ: dict[str, str]) -> None:
    interpreter(tmp_path / "one/python3", "3 13 /plain")

    assert find_python(environ).path == "/plain"


def test_the_error_lists_the_searched_folders_and_broken_pythons(tmp_path: Path, environ: dict[str, str]) -> None:
    dead = interpreter(tmp_path / "one/python3.13")
    interpreter(tmp_path / "two/python3", "3 11 /too/old")

    with pytest.raises(Failure) as failure:
        find_python(environ)

    sentence = str(failure.value)
    assert sentence.startswith("Python 3.12 or newer is needed and none was found")
    assert f"{tmp_path}/pyenv/versions" in sentence
    assert str(dead) in sentence
    assert "\n" not in sentence


def test_a_file_that_cannot_be_run_is_skipped(tmp_path: Path, environ: dict[str, str]) -> None:
    interpreter(tmp_path / "one/python3.13").chmod(0o644)

    assert not [candidate for candidate in candidates(environ) if candidate.endswith("3.13")]
    assert probe(str(tmp_path / "one/python3.13")) is None


@pytest.mark.parametrize("name", ["zenzefi", "__init__", "bootstrap", "console", "package_installer", "pythons"])
def test_modules_that_run_before_the_environment_are_valid_python_39(name: str) -> None:
    file = REPOSITORY / (name if name == "zenzefi" else f"ops/{name}.py")
    tree = ast.parse(file.read_text(), feature_version=(3, 9))

    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {
        "__future__", "collections.abc", "ops", "ops.console", "ops.package_installer", "ops.pythons", "pathlib",
        "types", "typing",
    }  # fmt: skip

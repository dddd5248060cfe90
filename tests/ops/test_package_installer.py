"""Packages are installed with uv where pip's configuration can be passed on to it, otherwise with pip."""

from pathlib import Path

import pytest

from ops import package_installer
from ops.console import Failure

CONFIGURATION = """:env:.cert='/etc/ssl/ca.pem'
:env:.default-timeout='180'
global.extra-index-url='https://one.example/simple https://two.example/simple'
global.index-url='https://unused.example/simple'
install.index-url='https://main.example/simple'
global.progress-bar='off'
download.index-url='https://other.example/simple'
"""


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment whose Python records how it is run, and prints a configuration of pip."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    recorded = tmp_path / "pip"
    script(
        folder / "bin/python",
        f'echo "$*" >> {recorded}\ncase "$*" in *"config list"*) echo "global.find-links=\'/wheels\'";; esac',
    )
    return folder


def calls(venv: Path, program: str) -> list[str]:
    file = venv.parent / program
    return file.read_text().splitlines() if file.exists() else []


def test_the_configuration_of_pip_is_passed_on_to_uv() -> None:
    assert package_installer.uv_options(CONFIGURATION) == (
        [
            *("--index", "https://one.example/simple", "--index", "https://two.example/simple"),
            *("--default-index", "https://main.example/simple"),
        ],
        {"SSL_CERT_FILE": "/etc/ssl/ca.pem", "UV_HTTP_TIMEOUT": "180"},
    )


def test_an_option_that_uv_does_not_have_is_left_to_pip() -> None:
    assert package_installer.uv_options("global.proxy='http://proxy.example'\n") is None


def test_many_packages_are_installed_with_the_uv_on_the_path(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = venv.parent / "tools"
    tools.mkdir()
    script(tools / "uv", f'echo "$*" >> {venv.parent / "uv"}')
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    package_installer.install(venv, Path("requirements.txt"), 100)

    [call] = calls(venv, "uv")
    assert call.startswith(f"pip install --python {venv}/bin/python ")
    assert call.endswith("--find-links /wheels -r requirements.txt")
    assert [call for call in calls(venv, "pip") if " install " in call] == []


def test_what_uv_cannot_install_is_installed_by_pip(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = venv.parent / "tools"
    tools.mkdir()
    script(tools / "uv", "exit 2")
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    package_installer.install(venv, Path("requirements.txt"), 100)

    assert calls(venv, "pip")[-1].endswith("-r requirements.txt")


def test_without_uv_its_wheel_is_tried_and_then_pip(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    package_installer.install(venv, Path("requirements.txt"), 100)

    assert [call.split()[-1] for call in calls(venv, "pip") if " install " in call] == [
        package_installer.UV,
        "requirements.txt",
    ]


def test_a_few_packages_are_installed_by_pip_at_once(venv: Path) -> None:
    package_installer.install(venv, Path("requirements.txt"), 3)

    [call] = calls(venv, "pip")
    assert call.endswith("-r requirements.txt")


def test_a_failed_installation_names_the_error_of_pip(venv: Path) -> None:
    script(venv / "bin/python", "echo 'ERROR: No matching distribution'; exit 1")

    with pytest.raises(Failure, match=r"could not be installed: ERROR: No matching distribution \(log of pip: "):
        package_installer.install(venv, Path("requirements.txt"), 3)

"""The Dockerfile: hadolint, the project's own rules, and the files that it names."""

import ast
import fnmatch
import re
from pathlib import Path

from ops.bootstrap import REPOSITORY
from ops.launcher.part_commands import PARTS
from tests.ops.deploy.documents import tool

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
INSTRUCTIONS = [line for line in DOCKERFILE.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def of(name: str) -> list[str]:
    return [line.partition(" ")[2] for line in INSTRUCTIONS if line.startswith(f"{name} ")]


def let_in() -> list[str]:
    """Return the patterns that .dockerignore excludes from its general "*"."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    return [line[1:] for line in lines if line.startswith("!")]


def test_hadolint_reports_nothing() -> None:
    tool("hadolint", "Dockerfile")


def test_the_base_image_is_pinned_to_a_release_and_named_once() -> None:
    [base] = [argument for argument in of("ARG") if argument.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=python:3\.13\.\d+-slim-[a-z]+", base)
    assert {line.split()[0] for line in of("FROM")} == {"${PYTHON}"}


def test_nothing_is_downloaded_by_hand_and_package_lists_are_removed() -> None:
    assert not of("ADD")
    assert not re.search(r"\b(curl|wget)\b|https?://", "\n".join(of("RUN")))
    for run in of("RUN"):
        if "apt-get" in run:
            assert "--no-install-recommends" in run
            assert "rm -rf /var/lib/apt/lists/*" in run


def test_the_image_runs_unprivileged_and_has_a_health_check() -> None:
    assert of("USER") == ["10001:10001"]
    assert INSTRUCTIONS.index("USER 10001:10001") > max(
        number for number, line in enumerate(INSTRUCTIONS) if line.startswith(("RUN", "COPY"))
    )
    assert "health" in of("HEALTHCHECK")[0]
    assert of("STOPSIGNAL") == ["SIGTERM"]  # on which portal, proxy, worker and scheduler all drain


def test_the_image_contains_no_secret() -> None:
    assert not re.search(r"(KEY|PASSWORD|SECRET|TOKEN)\w*=", "\n".join(of("ENV") + of("ARG")))
    for secret in (".env", "secrets", ".zenzefi", ".git"):
        assert not any(fnmatch.fnmatch(secret, pattern) for pattern in let_in())


def test_the_build_context_exists_and_contains_every_package() -> None:
    assert [name for name in let_in() if not (REPOSITORY / name).exists()] == []
    for module in ("addon", "jobs", "migrations", "models", "ops", "portal", "static", "templates"):
        assert module in let_in()
    assert "config.toml" in let_in()


def test_the_files_that_create_the_environment_import_no_other_module() -> None:
    [copied] = [line for line in of("COPY") if "ops/bootstrap.py" in line]
    names = {Path(name).stem for name in copied.split() if name.startswith("ops/") and name.endswith(".py")}
    for name in names:
        tree = ast.parse((REPOSITORY / f"ops/{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ops"):
                assert node.module.rpartition(".")[2] in names


def test_the_commands_of_the_parts_exist() -> None:
    for part, command in PARTS.items():
        if part != "portal":
            assert (REPOSITORY / f"{command[0].replace('.', '/')}.py").is_file()

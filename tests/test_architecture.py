"""The house rules about imports, held by walking every module's syntax tree, and one about themes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("addon", "portal", "jobs", "models", "ops", "tests")
# What a package may import of ours besides itself.
MAY_IMPORT = {
    "models": set(),
    "addon": {"models"},
    "jobs": {"models"},
    "portal": {"models", "jobs.queues"},
    "ops": {"models", "addon", "portal", "jobs"},
    "tests": {"models", "addon", "portal", "jobs", "ops"},
}
FORBIDDEN_IN_MODELS = {"flask", "flask_login", "flask_migrate", "flask_sqlalchemy", "flask_wtf", "werkzeug", "wtforms"}
FORBIDDEN_IN_MODELS |= {"mitmproxy", "rq", "rq_scheduler", "redis"}


def sources(package: str) -> list[Path]:
    """Return the modules of a package of ours."""
    return sorted((ROOT / package).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the full dotted name of everything that is imported anywhere below a node."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def is_within(name: str, package: str) -> bool:
    """Say whether a dotted name is the package or lies in it."""
    return name == package or name.startswith(f"{package}.")


def told(path: Path, line: int, name: str) -> str:
    """Name an offending import for the reader of a failure."""
    return f"{path.relative_to(ROOT)}:{line} imports {name}"


@pytest.mark.parametrize("package", OURS)
def test_imports_run_one_way(package: str) -> None:
    wrong = [
        told(path, line, name)
        for path in sources(package)
        for line, name in imports(ast.parse(path.read_text()))
        if name.partition(".")[0] in OURS
        and not is_within(name, package)
        and not any(is_within(name, allowed) for allowed in MAY_IMPORT[package])
    ]
    assert wrong == []


def test_models_know_no_framework() -> None:
    wrong = [
        told(path, line, name)
        for path in sources("models")
        for line, name in imports(ast.parse(path.read_text()))
        if name.partition(".")[0] in FORBIDDEN_IN_MODELS
    ]
    assert wrong == []


def test_tables_do_not_know_the_services() -> None:
    wrong = [
        told(path, line, name)
        for path in (ROOT / "models").glob("*.py")
        for line, name in imports(ast.parse(path.read_text()))
        if is_within(name, "models.services")
    ]
    assert wrong == []


@pytest.mark.parametrize("package", OURS)
def test_nothing_is_imported_inside_a_function(package: str) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    wrong = [
        told(path, line, name)
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, functions)
        for line, name in imports(node)
    ]
    assert wrong == []


def test_services_never_commit() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "models" / "services").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"commit", "rollback"}
    ]
    assert wrong == []


def test_a_theme_changes_colours_and_nothing_else() -> None:
    """So what a rule finds in one theme holds in the other, unless it asks for colours (ops/dev/screenshots/axe.py)."""
    ways = ("light-dark(", "prefers-color-scheme", "data-theme", "dataset.theme")
    knowing = {
        str(path.relative_to(ROOT))
        for folder in ("static/css", "static/js")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and any(way in path.read_text(encoding="utf-8") for way in ways)
    }
    assert knowing == {"static/css/tokens.css"}
    tokens = (ROOT / "static/css/tokens.css").read_text(encoding="utf-8")
    varying = re.findall(r"--([\w-]+): light-dark\(([^;]+)\);", tokens)
    assert varying
    assert all(re.fullmatch(r"#[0-9a-f]{6}, #[0-9a-f]{6}", colours) for _name, colours in varying)

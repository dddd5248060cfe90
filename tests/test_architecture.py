"""Architecture rules: import direction, layers, folder sizes, cited pages and the list of invariants."""

import ast
import graphlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs import pages

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
# A folder with more modules is hard to find one's way in.
MOST_MODULES = 15
LARGE_FOLDERS = {
    "models": "one module for each group of tables",
    "jobs": "one module for each subject of background work",
    "ops/doctor": "one module for each subject that the doctor examines",
    "tests/jobs": "one module for each module of jobs",
    "tests/abuse": "one module for each attack; docs/spec/invariants.md lists them",
}
TEXT_SUFFIXES = {"", ".py", ".md", ".toml", ".yml", ".yaml", ".sh", ".conf", ".template", ".jinja", ".html", ".po"}
CITED = re.compile(r"(?<![\w:/.*<>-])((?:\.\./)*(?:[\w-]+/)*[\w-]+(?:\.ru)?\.md)\b(?:#([\w-]+))?")
# Written by a tool into a folder outside the repository.
GENERATED_PAGES = {"summary.md"}


def sources(package: str) -> list[Path]:
    """Return the modules of a package of the project."""
    return sorted((ROOT / package).rglob("*.py"))


@cache
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a module, parsed once."""
    return ast.parse(path.read_text())


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the full dotted name of everything that is imported anywhere below a node."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def is_within(name: str, package: str) -> bool:
    """Return whether a dotted name is the package or inside it."""
    return name == package or name.startswith(f"{package}.")


def dotted_name(path: Path) -> str:
    """Return the name under which a module is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def describe(path: Path, line: int, name: str) -> str:
    """Describe a forbidden import."""
    return f"{path.relative_to(ROOT)}:{line} imports {name}"


@pytest.mark.parametrize("package", OURS)
def test_imports_run_one_way(package: str) -> None:
    wrong = [
        describe(path, line, name)
        for path in sources(package)
        for line, name in imports(parse(path))
        if name.partition(".")[0] in OURS
        and not is_within(name, package)
        and not any(is_within(name, allowed) for allowed in MAY_IMPORT[package])
    ]
    assert wrong == []


def test_models_import_no_framework() -> None:
    wrong = [
        describe(path, line, name)
        for path in sources("models")
        for line, name in imports(parse(path))
        if name.partition(".")[0] in FORBIDDEN_IN_MODELS
    ]
    assert wrong == []


def test_tables_do_not_import_services() -> None:
    wrong = [
        describe(path, line, name)
        for path in sources("models")
        if (ROOT / "models" / "services") not in path.parents
        for line, name in imports(parse(path))
        if is_within(name, "models.services")
    ]
    assert wrong == []


@pytest.mark.parametrize("package", OURS)
def test_nothing_is_imported_inside_a_function(package: str) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    wrong = [
        describe(path, line, name)
        for path in sources(package)
        for node in ast.walk(parse(path))
        if isinstance(node, functions)
        for line, name in imports(node)
    ]
    assert wrong == []


def test_services_never_commit() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "models" / "services").rglob("*.py")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and node.attr in {"commit", "rollback"}
    ]
    assert wrong == []


def test_a_theme_changes_only_colours() -> None:
    """So accessibility findings hold in both themes, except those about colours (ops/dev/screenshots/axe.py)."""
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


def test_no_line_of_a_template_is_longer_than_120_characters() -> None:
    """As for Python; break inside tags and expressions, where whitespace is not rendered."""
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "templates").rglob("*"))
        if path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 120
    ]
    assert long == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {dotted_name(path): path for package in OURS for path in sources(package)}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        names = [name for _line, name in imports(parse(path))]
        found = {name if name in modules else name.rpartition(".")[0] for name in names}
        graph[module] = (found & modules.keys()) - {module}
    graphlib.TopologicalSorter(graph).prepare()


def test_no_folder_has_too_many_modules() -> None:
    folders = Counter(
        str(path.parent.relative_to(ROOT))
        for package in OURS
        for path in sources(package)
        if path.name not in {"__init__.py", "__main__.py", "conftest.py"}
    )
    assert {name for name, count in folders.items() if count > MOST_MODULES} <= LARGE_FOLDERS.keys()


def test_every_module_docstring_begins_with_one_plain_sentence() -> None:
    wrong = []
    for package in OURS:
        for path in sources(package):
            first = (ast.get_docstring(parse(path)) or "").partition("\n\n")[0]
            is_empty = path.name == "__init__.py" and not path.read_text().strip()
            if not is_empty and ("\n" in first or not first.endswith(".")):
                wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


def cited_pages() -> Iterator[tuple[Path, str, str]]:
    """Yield each file, page and anchor where a text file of the repository names a Markdown page."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in map(ROOT.joinpath, listed.splitlines()):
        if path.suffix in TEXT_SUFFIXES and path.is_file():
            for page, anchor in CITED.findall(path.read_text(encoding="utf-8")):
                yield path, page, anchor


def test_every_page_and_section_that_is_cited_exists() -> None:
    wrong = []
    for path, page, anchor in cited_pages():
        if page in GENERATED_PAGES:
            continue
        places = (folder / page for folder in (path.parent, ROOT, ROOT / "docs"))
        target = next((place for place in places if place.is_file()), None)
        if target is None or (anchor and anchor not in pages.anchors(target)):
            wrong.append(f"{path.relative_to(ROOT)}: {page}{'#' if anchor else ''}{anchor}")
    assert wrong == []


def test_the_invariants_page_lists_the_tests_that_carry_each_number() -> None:
    carrying: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for number in re.findall(r"^(?:async )?def test_(\d+)_", path.read_text(), re.MULTILINE):
            carrying.setdefault(number, set()).add(str(path.relative_to(ROOT)))
    text = (ROOT / "docs/spec/invariants.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### (\d+)\. .+?^Tests: (.+?)$", text, re.MULTILINE | re.DOTALL)
    listed = {number: set(re.findall(r"`([^`]+)`", line)) for number, line in sections}
    assert listed == {number: carrying.get(number, set()) for number in listed}

"""Retired words do not come back in names, docstrings, comments, messages or documentation (docs/GLOSSARY.md)."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What people read: retired words, and the term to write instead.
PROSE = {
    r"the office\b|office's": "admin area",
    r"dossiers?": "user profile",
    r"the books|books add up": "the ledger; ledger verification",
    r"held account": "pending balance",
    r"went back|ran out": "refunded; expired",
    r"movements?": "ledger entry, transfer",
    r"tombstones?|buried|burial": "invalidation marker",
    r"deaf": "disconnected",
    r"neighbours?": "sibling workers",
    r"tally|outlook": "usage counters; upstream status",
    r"given up": "failed permanently",
    r"far sides?": "fake server",
    r"the house|house rules?|rules of the house": "the codebase, the installation",
    r"roubles?": "rubles",
    r"farewell|nameless": "deletion summary; anonymised",
    r"half entered": "second factor pending",
    r"(?:the|a|no) way in(?! which)|way out": "browser access; unsubscribe link",
    r"he|him|his|himself": "they, the user",
    r"whoever": "a subject and a verb",
    r"issue \d+|contract's": "a section of docs/spec",
}
# Parts of identifiers.
NAMES = (
    "burial", "burials", "buried", "bury", "deaf", "desk", "dossier", "entrance", "farewell", "his", "house", "lane",
    "nameless", "neighbour", "neighbours", "office", "outlook", "patience", "roubles", "tally", "tombstone",
    "tombstones", "upkeep",
)  # fmt: skip
# Whole identifiers of the gateway and its tests: snapshot or cache, attributes, credentials, context, database, ...
GATEWAY_NAMES = {"claim", "facts", "heard", "known", "rates", "records", "store", "trail", "visit"}
FORBIDDEN = {re.compile(rf"\b(?:{words})\b", re.IGNORECASE): instead for words, instead in PROSE.items()}
FORBIDDEN_NAME = re.compile(rf"(?:^|_)(?:{'|'.join(NAMES)})(?:_|$)")
SKIPPED = {"tests/test_language.py", "docs/GLOSSARY.md"}


def python_files() -> list[Path]:
    """Return the modules whose names, docstrings and comments are checked; migrations stay as they ran."""
    folders = ("addon", "jobs", "models", "ops", "portal", "tests")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def configuration_files() -> list[Path]:
    """Return the files whose comments are checked."""
    found = [ROOT / name for name in ("config.toml", "pyproject.toml", "Dockerfile", ".dockerignore")]
    found += [*ROOT.glob("docker-compose*.yml"), *(ROOT / ".github").rglob("*.yml")]
    suffixes = {".yml", ".yaml", ".sh", ".conf", ".template"}
    return found + [path for path in sorted((ROOT / "ops").rglob("*")) if path.suffix in suffixes]


def pages() -> list[Path]:
    """Return the Markdown pages."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def docstrings(text: str) -> Iterator[str]:
    """Yield the docstrings of a module, its classes and its functions."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node, clean=False) or ""


def retired_in_prose(text: str) -> list[str]:
    """Return the retired words of a text, each with the term to write instead."""
    return [
        f"{match[0]!r} (write: {instead})"
        for pattern, instead in FORBIDDEN.items()
        for match in pattern.finditer(re.sub(r"\s+", " ", text))
    ]


def retired_in_python(path: Path) -> list[str]:
    """Return the retired words in the docstrings, comments and names of a module."""
    text = path.read_text(encoding="utf-8")
    found = [word for docstring in docstrings(text) for word in retired_in_prose(docstring)]
    comments = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append(token.string.lstrip("# "))
        elif token.type == tokenize.NAME:
            words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", token.string).lower()
            is_retired = FORBIDDEN_NAME.search(words) or (words in GATEWAY_NAMES and is_of_gateway(path))
            found += [token.string] if is_retired else []
    return found + retired_in_prose(" ".join(comments))


def is_of_gateway(path: Path) -> bool:
    """Return whether a module belongs to the gateway or its tests."""
    return path.is_relative_to(ROOT / "addon") or path.is_relative_to(ROOT / "tests" / "addon")


def check(path: Path, found: list[str]) -> None:
    """Fail with what was found in a file."""
    name = str(path.relative_to(ROOT))
    assert name in SKIPPED or not found, f"{name}: {sorted(set(found))}"


@pytest.mark.parametrize("folder", ["addon", "jobs", "models", "ops", "portal", "tests"])
def test_no_name_docstring_or_comment_has_a_retired_word(folder: str) -> None:
    for path in python_files():
        if path.is_relative_to(ROOT / folder):
            check(path, retired_in_python(path))


def test_no_page_has_a_retired_word() -> None:
    for path in pages():
        check(path, retired_in_prose(re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)))


def test_no_comment_in_configuration_has_a_retired_word() -> None:
    for path in configuration_files():
        comments = re.findall(r"(?:^|\s)#\s?(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        check(path, retired_in_prose(" ".join(comments)))


def test_no_message_has_a_retired_word() -> None:
    path = ROOT / "portal/translations/ru/LC_MESSAGES/messages.po"
    text = re.sub(r'"\n"', "", path.read_text(encoding="utf-8"))
    check(
        path,
        [
            word
            for msgid in re.findall(r'^msgid(?:_plural)? "(.*)"$', text, re.MULTILINE)
            for word in retired_in_prose(msgid)
        ],
    )

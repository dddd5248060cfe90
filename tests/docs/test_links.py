"""Tests of the documentation: links, commands, settings, and the Russian README against the English one."""

import contextlib
import importlib
import importlib.util
import re
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

from models.config.settings import Settings
from ops.bootstrap import REPOSITORY
from tests.docs import pages

# Those whose help is the program's own, and takes no options that the pages name.
FREE = {"test", "fuzz"}


def launcher() -> Any:
    """Return the file `zenzefi` as a module."""
    loader = SourceFileLoader("zenzefi_launcher", str(REPOSITORY / "zenzefi"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))  # type: ignore[arg-type]
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    broken = []
    for link in pages.LINK.findall(pages.prose(page)):
        place, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", place):
            continue
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in pages.anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_code_block_names_its_language() -> None:
    assert [(block.page.name, block.text) for block in pages.blocks() if not block.language] == []


def test_every_command_that_the_pages_name_exists_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {command[0]: command[2] for command in launcher().COMMANDS}
    assert len(commands) == len(launcher().COMMANDS), "a command is there twice"
    written = [text for block in pages.blocks() if block.language == "sh" for text in block.commands]
    written += [text for page in pages.PAGES for text in re.findall(r"`(\./zenzefi [^`]+)`", pages.prose(page))]
    named: dict[str, set[str]] = {}
    for text in written:
        if found := re.match(r"\./zenzefi ([a-z-]+)(.*)", text, re.DOTALL):
            named.setdefault(found[1], set()).update(re.findall(r"(?<!\S)--[a-z-]+", found[2]))
    assert named.keys() - {"--help"} <= commands.keys() | launcher().REPLACED.keys()
    for name, options in named.items():
        if name in FREE or not options:
            continue
        module = commands[name]
        is_package = (REPOSITORY / module.replace(".", "/")).is_dir()
        program = importlib.import_module(f"{module}.__main__" if is_package else module)
        subcommands = {word for text in written for word in re.findall(rf"\./zenzefi {name} ([a-z-]+)", text)}
        for arguments in [[], *([word] for word in sorted(subcommands))]:
            with contextlib.suppress(SystemExit):
                program.main([*arguments, "--help"])
        captured = capsys.readouterr()
        unknown = {option for option in options if not re.search(rf"{option}\b", captured.out + captured.err)}
        assert not unknown, f"./zenzefi {name} knows no {unknown}"


def test_every_setting_that_the_pages_name_exists() -> None:
    unknown = []
    for page in pages.PAGES:
        if page.name == "CHANGELOG.md":
            continue
        for section, key in re.findall(r"`\[([a-z_]+)\] ([a-z0-9_]+)", page.read_text(encoding="utf-8")):
            field = Settings.model_fields.get(section)
            if field is None or (key not in getattr(field.annotation, "model_fields", {})):
                unknown.append(f"{page.name}: [{section}] {key}")
    assert unknown == []


def test_the_russian_readme_has_the_structure_of_the_english_one() -> None:
    english, russian = (REPOSITORY / name for name in ("README.md", "README.ru.md"))

    def shape(page: Path) -> dict[str, list[str]]:
        text = pages.prose(page)
        return {
            "levels": re.findall(r"^(#+) ", text, re.MULTILINE),
            "commands": [c for b in pages.blocks() if b.page == page and b.language == "sh" for c in b.commands],
            "links": [
                link.replace(".ru.png", ".png") for link in pages.LINK.findall(text) if not link.startswith("README")
            ],
            "options": re.findall(r"^\| (`--.*?) \|", text, re.MULTILINE),
            "code": sorted(set(re.findall(r"`[^`]+`", text))),
        }

    assert shape(russian) == shape(english)

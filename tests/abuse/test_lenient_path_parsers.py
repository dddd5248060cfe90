"""Generated paths that pass a scope stay inside it for lenient and strict path parsers.

docs/spec/invariants.md#11-paths-outside-the-scope

Made-up paths are put to the gate's own rules, and what these accept is read as upstreams have been seen to read paths.
"""

import random
import unicodedata
from collections.abc import Callable, Iterator
from urllib.parse import unquote_to_bytes

import pytest

from models.config.settings import Settings
from models.services.gateway.scopes import Scope, compile_all, find_rule

PATHS = 6000
BEGINNINGS = ("certificates/filter", "certificates/import", "certificates/details", "certificates/export")
PIECES = """
    .. . %2e %2e%2e %252e ..; ... a 17 users currentUser certificates %20 %09 %0a %3b %3f %23 %26 %5c %25 %u002e
    %ff %80 %c0 %c1 %e0 %c2 %c0%ae %c0%2e %c0%ee %c0%af %c1%9c %e0%80%ae %f8%80%80%80%ae %fc%80%80%80%80%ae
    %ef%bc%8e %ef%bc%8f %ef%bc%bc %ef%bc%852e %e2%80%a4 %e2%80%a5 %e2%81%84 %c2%a0 %c2%ad %e2%80%8b %ef%bb%bf %e3%80%80
    """.split()  # noqa: SIM905 - a table of words

LEADS = ((0xC0, 0xE0, 1), (0xE0, 0xF0, 2), (0xF0, 0xF8, 3), (0xF8, 0xFC, 4), (0xFC, 0xFE, 5))


def unchecked_utf8(raw: bytes) -> str:
    """Decode UTF-8 like decoders that mask bits without validation."""
    letters, position = [], 0
    while position < len(raw):
        value, more = raw[position], 0
        for lead, mask, length in LEADS:
            if value & mask == lead and position + length < len(raw):
                value, more = value & ~mask & 0xFF, length
                break
        for byte in raw[position + 1 : position + 1 + more]:
            value = value << 6 | byte & 0x3F
        letters.append(chr(value) if value < 0xD800 else "?")
        position += 1 + more
    return "".join(letters)


DECODERS: tuple[Callable[[bytes], str], ...] = (
    lambda raw: raw.decode("utf-8", "replace"),
    lambda raw: raw.decode("utf-8", "ignore"),
    lambda raw: raw.decode("latin-1"),
    unchecked_utf8,
)
FOLDS: tuple[Callable[[str], str], ...] = (
    lambda path: path,
    lambda path: path.replace("\\", "/"),
    lambda path: unicodedata.normalize("NFKC", path),
    lambda path: "".join(letter for letter in path if unicodedata.category(letter) != "Cf"),
)
TRIMS: tuple[Callable[[str], str], ...] = (
    lambda segment: segment,
    lambda segment: segment.partition(";")[0],
    lambda segment: segment.strip(),
    lambda segment: ".." if segment.startswith("..") and not segment.strip(" .") else segment,
)


def readings(path: bytes) -> Iterator[list[str]]:
    """Return the segments as each parser reads them."""
    once = unquote_to_bytes(path)
    for decoded in (once, unquote_to_bytes(once)):
        for decode in DECODERS:
            for fold in FOLDS:
                whole = fold(decode(decoded))
                for cut in (whole, whole.partition("?")[0], whole.partition("#")[0]):
                    for trim in TRIMS:
                        yield resolved([trim(segment) for segment in cut.split("/")])


def resolved(segments: list[str]) -> list[str]:
    left: list[str] = []
    for segment in segments:
        if segment == "..":
            del left[-1:]
        elif segment not in {"", "."}:
            left.append(segment)
    return left


@pytest.fixture
def narrow(settings: Settings) -> Scope:
    return compile_all(settings.scopes)["certificates_only"]


def test_11_no_lenient_path_parser_sees_a_path_outside_the_scope(narrow: Scope) -> None:
    chance, accepted = random.Random(11), 0  # noqa: S311 - the same paths each time
    for _ in range(PATHS):
        segments = ["".join(chance.choices(PIECES, k=chance.choice((1, 1, 2, 3)))) for _ in range(chance.randint(1, 4))]
        path = f"/{chance.choice(BEGINNINGS)}/{'/'.join(segments)}".encode()
        if find_rule(narrow, "GET", path).code:
            continue
        accepted += 1
        for seen in readings(path):
            assert "/".join(seen[:2]) in BEGINNINGS, (path, seen)
    assert accepted > PATHS / 50


@pytest.mark.parametrize(
    "path",
    [
        "filter/%C3%A9t%C3%A9",
        "filter/a%20b",
        "details/v1.2..3",
        "filter/.well-known",
        "filter/%E9",
        "details/caf%E9",
        "details/1%2C%E2%80%A6",
    ],
)
def test_11_ordinary_names_pass(narrow: Scope, path: str) -> None:
    assert find_rule(narrow, "GET", f"/certificates/{path}".encode()).code == ""

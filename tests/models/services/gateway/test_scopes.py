"""Scopes: the table of docs/spec/http.md#scopes."""

import unicodedata

import pytest

from models.config.settings import Settings
from models.services.gateway import request_paths
from models.services.gateway.scopes import Scope, compile_all, find_rule

INSIDE = [
    "certificates/filter",
    "certificates/filter/a/b/c",
    "certificates/details/17",
    "certificates/export/17",
    "certificates/import",
    "certificates/import/a/b",
    "certificates/remove",
    "certificates/restore",
    "certificates/activeForTesting",
    "certificates/activeForTesting/activate/17",
    "certificates/activeForTesting/deactivate/17",
    "certificates/activeForTesting/enhanced",
    "certificates/activeForTesting/options/17",
    "certificates/activeForTesting/usecases/17",
    "certificates/update/17",
    "certificates/update/cancel",
    "certificates/update/metrics",
    "certificates/checkSystemIntegrityReport",
    "certificates/checkSystemIntegrityLog",
    "certificates/checkSystemIntegrityLogExistance",
    "configurations/certificatesColumnOrder",
    "configurations/certificatesColumnVisibility",
]
OUTSIDE = [
    "",
    "certificates",
    "certificates/",
    "certificates/filters",
    "certificates/Filter",
    "certificates/details",
    "certificates/details/",
    "certificates/details/17/more",
    "certificates/remove/17",
    "certificates/remove/",
    "certificates/activeForTesting/activate",
    "certificates/activeForTesting/activate/17/18",
    "certificates/filter;x=1",
    "certificates/filter/a;b",
    "users/currentUser",
    "configurations/other",
    "x/certificates/filter",
]


@pytest.fixture
def restricted(settings: Settings) -> Scope:
    return compile_all(settings.scopes)["certificates_only"]


@pytest.mark.parametrize("path", INSIDE)
def test_certificates_only_reaches_its_families(restricted: Scope, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert restricted.allows(method, path.split("/"))


@pytest.mark.parametrize("path", OUTSIDE)
def test_certificates_only_reaches_nothing_else(restricted: Scope, path: str) -> None:
    assert not restricted.allows("GET", path.split("/"))


@pytest.mark.parametrize("path", [*INSIDE, *OUTSIDE])
def test_full_reaches_every_path(settings: Settings, path: str) -> None:
    assert compile_all(settings.scopes)["full"].allows("GET", path.split("/"))


def test_a_rule_may_name_its_methods() -> None:
    scope = Scope(["GET,HEAD reports/{id}", "POST reports"])
    assert scope.allows("HEAD", ["reports", "1"])
    assert scope.allows("POST", ["reports"])
    assert not scope.allows("POST", ["reports", "1"])
    assert not scope.allows("GET", ["reports"])


def test_a_rule_without_methods_covers_the_ordinary_ones_and_others_are_named() -> None:
    scope = Scope(["files/**", "PROPFIND,VERSION-CONTROL dav/**"])
    assert scope.allows("DELETE", ["files", "a"])
    assert not scope.allows("PROPFIND", ["files", "a"])
    assert scope.allows("PROPFIND", ["dav", "a"])
    assert scope.allows("VERSION-CONTROL", ["dav"])
    assert Scope(["**"]).allows("PROPFIND", ["files"])


@pytest.mark.parametrize(
    "written", ["%c2", "%ff", "%E9", "%e2%80%8b", "%c2%a0", "%c2%ad", "%ef%bb%bf", "%e3%80%80", "%20", "%c2%20"]
)
def test_a_placeholder_does_not_match_a_segment_that_some_servers_read_as_empty(
    restricted: Scope, written: str
) -> None:
    """Readers skip bytes that are no UTF-8 and drop what is invisible: `details/` is not `details/{id}`."""
    path = f"/certificates/details/{written}".encode()
    assert find_rule(restricted, "GET", path).code == "scope_denied"
    assert find_rule(restricted, "GET", path + b"17").code == ""


@pytest.mark.parametrize("written", ["%E2%84%85", "%E2%84%80b", "%C2%BD", "%EF%BC%A1", "%E2%85%A3"])
def test_other_characters_are_not_normalised(restricted: Scope, written: str) -> None:
    assert find_rule(restricted, "GET", f"/certificates/details/{written}".encode()).code == ""


@pytest.mark.parametrize(
    "written",
    [
        "a%EF%BC%8Fb",
        "a%EF%BC%BCb",
        "a%EF%B9%A8b",
        "%EF%BC%8E%EF%BC%8E",
        "%E2%80%A5",
        "%EF%B8%B0",
        "%EF%BC%852e",
        "%25%EF%BC%92e",
    ],
)
def test_characters_that_some_servers_read_as_separators_are_refused(restricted: Scope, written: str) -> None:
    assert find_rule(restricted, "GET", f"/certificates/details/{written}".encode()).code == "bad_request"


def test_every_character_that_normalises_to_separators_is_treated_as_one() -> None:
    separators = set("./\\%;?#")
    for code in range(0x80, 0x20000):
        seen = unicodedata.normalize("NFKC", chr(code))
        if set(seen) <= separators and not 0xD800 <= code < 0xE000:
            path = b"/certificates/details/.." + chr(code).encode() + b"/.."
            assert find_rule(Scope(["certificates/**"]), "GET", path).code, hex(code)
            assert request_paths._SEPARATOR_LIKE[code] == seen, hex(code)


def test_full_for_some_methods_is_still_restricted() -> None:
    scope = Scope(["GET **"])
    assert scope.allows("GET", ["anything"])
    assert not scope.allows("POST", ["anything"])


@pytest.mark.parametrize("rule", ["", "a/**/b", "a//b", "GET POST a", "get a b"])
def test_an_invalid_rule_prevents_the_start(rule: str) -> None:
    with pytest.raises(ValueError, match="scopes"):
        Scope([rule])

"""What a scope lets through: the table of contract.md, section 2."""

import pytest

from models.config import Settings
from models.services.scopes import Scope, compile_all

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


def test_full_for_some_methods_is_still_restricted() -> None:
    scope = Scope(["GET **"])
    assert scope.allows("GET", ["anything"])
    assert not scope.allows("POST", ["anything"])


@pytest.mark.parametrize("rule", ["", "a/**/b", "a//b", "GET POST a", "get a b"])
def test_a_rule_that_makes_no_sense_stops_the_start(rule: str) -> None:
    with pytest.raises(ValueError, match="scopes"):
        Scope([rule])

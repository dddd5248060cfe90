"""Where the access is found: first match wins, and what is not ours is left alone."""

import base64

import pytest

from addon.credentials import Credential, find

SECRET = "A" * 60 + "_-09"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_the_own_header_wins_over_authorization() -> None:
    assert find("anything", f"Bearer {SECRET}") == Credential("anything", "x-access-token")


@pytest.mark.parametrize(
    "value", [f"Bearer {SECRET}", f"bearer  {SECRET} ", basic(f"any:{SECRET}"), basic(f":{SECRET}")]
)
def test_authorization_carries_a_secret_of_exactly_our_shape(value: str) -> None:
    assert find(None, value) == Credential(SECRET, "authorization")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        f"Bearer {SECRET}x",
        f"Bearer {SECRET[:-1]}",
        f"Bearer {SECRET[:-1]}+",
        f"Digest {SECRET}",
        basic("user:password"),
        basic(SECRET),
        "Basic ???",
        "Basic " + base64.b64encode(b"a:\xff" + SECRET.encode()).decode(),
    ],
)
def test_any_other_authorization_belongs_to_the_upstream(value: str | None) -> None:
    assert find(None, value) is None

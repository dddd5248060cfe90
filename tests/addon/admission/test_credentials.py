"""Credential sources: their order, other credentials left unchanged, and masking of secrets in any header."""

import base64

import pytest

from addon.admission.credentials import (
    Credential,
    cookie_name,
    cookie_value,
    find_credential,
    holds_secret,
    mask_secret_shapes,
)
from models.config.settings import Settings
from models.services.crypto.secrets import Purpose, new_secret

SECRET = "A" * 60 + "_-09"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_the_own_header_wins_over_authorization() -> None:
    assert find_credential("anything", f"Bearer {SECRET}") == Credential("anything", "x-access-token")
    assert find_credential("anything", "Bearer theirs") == Credential("anything", "x-access-token")


@pytest.mark.parametrize(
    "value", [f"Bearer {SECRET}", f"bearer  {SECRET} ", basic(f"any:{SECRET}"), basic(f":{SECRET}")]
)
def test_authorization_carries_a_secret_of_exactly_our_shape(value: str) -> None:
    assert find_credential(None, value) == Credential(SECRET, "authorization")


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
    assert find_credential(None, value) is None


def test_the_order_is_our_header_then_the_cookie_then_authorization() -> None:
    assert find_credential("header", f"Bearer {SECRET}", "cookie") == Credential("header", "x-access-token")
    assert find_credential(None, f"Bearer {SECRET}", "cookie") == Credential("cookie", "cookie")
    assert find_credential(None, f"Bearer {SECRET}", "") == Credential("", "cookie")
    assert find_credential("", None, "cookie") == Credential("", "x-access-token")


def test_only_a_cookie_must_have_been_made_to_be_one() -> None:
    assert Credential(SECRET, "cookie").purpose is Purpose.COOKIE
    assert Credential(SECRET, "x-access-token").purpose is Purpose.TOKEN
    assert Credential(SECRET, "authorization").purpose is Purpose.TOKEN


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ([], None),
        ([b""], None),
        ([b"theirs=1"], None),
        ([b"zenzefi_access=x"], "x"),
        ([b"a=1;zenzefi_access = x ; b=2"], "x"),
        ([b"a=1", b"zenzefi_access=x=y"], "x=y"),
        ([b"Zenzefi_Access=x"], None),
        ([b"xzenzefi_access=x; zenzefi_accessx=x"], None),
        ([b"zenzefi_access"], ""),
        ([b"zenzefi_access="], ""),
        ([b"zenzefi_access=x; zenzefi_access=x"], ""),
        ([b"zenzefi_access=x", b"zenzefi_access=y"], ""),
        ([b"zenzefi_access=\xff"], "\xff"),
    ],
)
def test_the_cookie_is_found_by_its_exact_name_and_only_when_it_is_sent_once(
    lines: list[bytes], value: str | None
) -> None:
    assert cookie_value(lines, cookie_name(production=False).encode()) == value


def carriers(secret: str) -> list[bytes]:
    """Return values in which a client may send a secret."""
    encoded = base64.b64encode(f"{secret}:".encode()).decode()
    return [
        line.encode()
        for line in (
            secret,
            f"Bearer\t{secret}",
            f"Token {secret}",
            f'Token token="{secret}"',
            f"Basic {encoded}",
            f"BASIC\t {encoded.rstrip('=')}",
            basic(f"someone:{secret}"),
            f"https://proxy.example/a?b=1&token={secret}",
            f"https://proxy.example/?token=%{ord(secret[0]):02x}{secret[1:]}",
            f"prefix_{secret}",
            f"{secret}-suffix",
            f"base64url.bearer, {base64.urlsafe_b64encode(secret.encode()).decode()}",
        )
    ]


@pytest.mark.parametrize("purpose", Purpose)
def test_a_genuine_secret_is_found_in_any_encoding(settings: Settings, purpose: Purpose) -> None:
    secret = new_secret(settings.tokens, purpose)
    for value in carriers(secret):
        assert holds_secret(settings.tokens, value), value


def test_a_value_with_only_the_shape_of_a_secret_is_not_genuine(settings: Settings) -> None:
    for value in (*carriers(SECRET), b"", b"a" * 10_000, b"%" * 200, b"=" * 100, b"eyJhbGciOiJIUzI1NiJ9." * 20):
        assert not holds_secret(settings.tokens, value), value


def test_secret_shapes_are_masked_in_stored_texts() -> None:
    assert mask_secret_shapes(f"curl/8.0 ({SECRET})") == "curl/8.0 ([masked])"
    agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
    assert mask_secret_shapes(agent) == agent

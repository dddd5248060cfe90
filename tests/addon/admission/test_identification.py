"""Identification of a token by its credential: the tier that answers, and no side effects."""

import asyncio

import pytest

from addon.admission.identification import NO_TIER, TokenIdentifier, tier_in_memory
from addon.http1.decisions import Refuse
from models.access_tokens import AccessToken
from models.services.crypto import secrets
from models.services.gateway.token_lookup import TokenSnapshot
from tests.addon.conftest import Gated, attributes, make_lookup, sell


@pytest.fixture
def identifier(gated: Gated) -> TokenIdentifier:
    return TokenIdentifier(gated.settings.tokens, make_lookup(gated.settings, gated.database, gated.memory_tier))


def test_the_first_look_up_is_answered_by_the_database_and_the_next_from_memory(
    gated: Gated, identifier: TokenIdentifier
) -> None:
    owned = sell(gated.factory, gated.settings, "buyer")
    credential = attributes(owned.secret).credential
    assert identifier.identify_from_memory(credential) is None
    found, tier = asyncio.run(identifier.identify(credential))
    assert isinstance(found, TokenSnapshot)
    assert (found.token_id, tier) == (owned.token.id, "database")
    assert identifier.identify_from_memory(credential) is found
    assert asyncio.run(identifier.identify(credential)) == (found, "memory")


def test_identification_does_not_activate_a_token(gated: Gated, identifier: TokenIdentifier) -> None:
    owned = sell(gated.factory, gated.settings, "buyer")
    asyncio.run(identifier.identify(attributes(owned.secret).credential))
    with gated.factory() as session:
        assert session.get_one(AccessToken, owned.token.id).activated_at is None


def test_a_missing_a_made_up_and_an_unknown_secret_have_no_tier_of_a_token(
    gated: Gated, identifier: TokenIdentifier
) -> None:
    unknown = secrets.new_secret(gated.settings.tokens)
    expected = [
        (None, "token_missing", NO_TIER),
        ("x" * 64, "token_invalid", NO_TIER),
        (unknown, "token_invalid", "negative"),
        (unknown, "token_invalid", "negative"),
    ]
    for secret, code, tier in expected:
        found, answered = asyncio.run(identifier.identify(attributes(secret).credential))
        assert isinstance(found, Refuse)
        assert (found.code, answered) == (code, tier)
        assert tier_in_memory(found) == NO_TIER

"""The in-memory token cache: bounded, and never older than the invalidations received."""

import uuid
from dataclasses import replace

import pytest

from addon.token_cache.memory_tier import MemoryTier
from models.services.gateway.token_lookup import TokenSnapshot


def make(version: int = 1) -> TokenSnapshot:
    return TokenSnapshot(
        token_id=uuid.uuid4(),
        user_id=uuid.uuid4(),
        prefix="prefix",
        scope="full",
        duration_hours=1,
        version=version,
        owner_is_active=True,
        is_activated=True,
        is_revoked=False,
        paused_until=None,
        expires_at=None,
        seconds_left=None,
        session_id=None,
        device_id=None,
    )


@pytest.fixture
def memory_tier() -> MemoryTier:
    return MemoryTier(size=3)


def test_the_cache_is_bounded(memory_tier: MemoryTier) -> None:
    for number in range(10):
        memory_tier.put(bytes([number]), make(), invalidations_before=memory_tier.invalidations)
    assert len(memory_tier) == 3
    assert memory_tier.get(bytes([0])) is None
    assert memory_tier.get(bytes([9])) is not None


def test_an_invalidation_drops_its_token_and_no_other(memory_tier: MemoryTier) -> None:
    one, other = make(), make()
    memory_tier.put(b"1", one, invalidations_before=0)
    memory_tier.put(b"2", other, invalidations_before=0)
    memory_tier.invalidate(b"1", one.token_id)
    memory_tier.invalidate(b"not cached", uuid.uuid4())
    assert memory_tier.get(b"1") is None
    assert memory_tier.get(b"2") is other


def test_an_invalidation_drops_the_cookies_of_its_token_too_and_no_others(memory_tier: MemoryTier) -> None:
    token, other = make(), make()
    memory_tier.put(b"cookie", replace(token, own_device="browser-1"), invalidations_before=0)
    memory_tier.put(b"second", replace(token, own_device="browser-2"), invalidations_before=0)
    memory_tier.put(b"others", replace(other, own_device="browser-3"), invalidations_before=0)
    memory_tier.invalidate(b"the token itself is not cached", token.token_id)
    assert [memory_tier.get(name) is None for name in (b"cookie", b"second", b"others")] == [True, True, False]


def test_an_evicted_cookie_is_dropped_from_the_index_of_its_token(memory_tier: MemoryTier) -> None:
    token = make()
    for number in range(10):
        memory_tier.put(bytes([number]), replace(token, own_device=f"browser-{number}"), invalidations_before=0)
    assert memory_tier._cookies == {token.token_id: {bytes([7]), bytes([8]), bytes([9])}}
    for number in range(10, 13):
        memory_tier.put(bytes([number]), make(), invalidations_before=0)
    assert memory_tier._cookies == {}
    memory_tier.put(b"cookie", replace(token, own_device="browser"), invalidations_before=0)
    memory_tier.connected()
    assert memory_tier._cookies == {}


def test_a_look_up_that_an_invalidation_overtook_is_not_stored(memory_tier: MemoryTier) -> None:
    before = memory_tier.invalidations
    memory_tier.invalidate(b"another", uuid.uuid4())
    memory_tier.put(b"1", make(), invalidations_before=before)
    assert memory_tier.get(b"1") is None


def test_an_older_version_never_replaces_a_newer_one(memory_tier: MemoryTier) -> None:
    newer = make(version=5)
    memory_tier.put(b"1", newer, invalidations_before=0)
    memory_tier.put(b"1", replace(newer, version=4), invalidations_before=0)
    assert memory_tier.get(b"1") is newer


def test_the_lease_ends_soon_after_a_disconnect_and_a_reconnect_clears_the_cache(
    memory_tier: MemoryTier,
) -> None:
    assert memory_tier.leased_until == float("-inf")
    memory_tier.connected()
    memory_tier.put(b"1", make(), invalidations_before=memory_tier.invalidations)
    assert memory_tier.leased_until == float("inf")
    memory_tier.disconnected(100.0, 1.0)
    memory_tier.disconnected(103.0, 1.0)
    assert memory_tier.leased_until == 101.0
    assert memory_tier.get(b"1") is not None
    memory_tier.connected()
    assert memory_tier.leased_until == float("inf")
    assert memory_tier.get(b"1") is None

"""The worker's map: bounded, and never older than what it was told."""

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
def known() -> MemoryTier:
    return MemoryTier(size=3)


def test_the_map_is_bounded(known: MemoryTier) -> None:
    for number in range(10):
        known.put(bytes([number]), make(), invalidations_before=known.invalidations)
    assert len(known) == 3
    assert known.get(bytes([0])) is None
    assert known.get(bytes([9])) is not None


def test_a_notice_drops_the_token_it_names_and_no_other(known: MemoryTier) -> None:
    one, other = make(), make()
    known.put(b"1", one, invalidations_before=0)
    known.put(b"2", other, invalidations_before=0)
    known.invalidate(b"1", one.token_id)
    known.invalidate(b"nobody knows it", uuid.uuid4())
    assert known.get(b"1") is None
    assert known.get(b"2") is other


def test_a_notice_drops_the_cookies_of_its_token_too_and_no_others(known: MemoryTier) -> None:
    token, other = make(), make()
    known.put(b"cookie", replace(token, own_device="browser-1"), invalidations_before=0)
    known.put(b"second", replace(token, own_device="browser-2"), invalidations_before=0)
    known.put(b"others", replace(other, own_device="browser-3"), invalidations_before=0)
    known.invalidate(b"the token itself is not known", token.token_id)
    assert [known.get(name) is None for name in (b"cookie", b"second", b"others")] == [True, True, False]


def test_a_cookie_that_made_room_is_not_kept_in_mind(known: MemoryTier) -> None:
    token = make()
    for number in range(10):
        known.put(bytes([number]), replace(token, own_device=f"browser-{number}"), invalidations_before=0)
    assert known._cookies == {token.token_id: {bytes([7]), bytes([8]), bytes([9])}}
    for number in range(10, 13):
        known.put(bytes([number]), make(), invalidations_before=0)
    assert known._cookies == {}
    known.put(b"cookie", replace(token, own_device="browser"), invalidations_before=0)
    known.connected()
    assert known._cookies == {}


def test_an_answer_that_a_notice_overtook_is_not_stored(known: MemoryTier) -> None:
    before = known.invalidations
    known.invalidate(b"another", uuid.uuid4())
    known.put(b"1", make(), invalidations_before=before)
    assert known.get(b"1") is None


def test_an_older_version_never_replaces_a_newer_one(known: MemoryTier) -> None:
    newer = make(version=5)
    known.put(b"1", newer, invalidations_before=0)
    known.put(b"1", replace(newer, version=4), invalidations_before=0)
    assert known.get(b"1") is newer


def test_trust_ends_soon_after_the_listener_is_cut_off_and_comes_back_with_an_empty_map(known: MemoryTier) -> None:
    assert known.leased_until == float("-inf")
    known.connected()
    known.put(b"1", make(), invalidations_before=known.invalidations)
    assert known.leased_until == float("inf")
    known.disconnected(100.0, 1.0)
    known.disconnected(103.0, 1.0)
    assert known.leased_until == 101.0
    assert known.get(b"1") is not None
    known.connected()
    assert known.leased_until == float("inf")
    assert known.get(b"1") is None

"""The gate: every step of the admission order (docs/spec/http.md#order-of-checks), on a real database."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from addon.admission.gate import Gate
from addon.admission.token_admission import TokenAdmission
from addon.http1.decisions import Refuse
from addon.recording.counters import Counters
from addon.token_cache import database
from addon.token_cache.database import TokenDatabase
from addon.token_cache.memory_tier import MemoryTier
from models import clock
from models.access_tokens import AccessToken
from models.database import Sessions
from models.proxy_sessions import ProxySession
from models.services.accounts import roles
from models.services.actor import PLATFORM
from models.services.crypto import secrets
from models.services.errors import TokenUnusable
from models.services.gateway import sessions as proxy_sessions
from models.services.tokens import debt_pauses, revocation
from models.token_pauses import TokenPause
from tests.addon.conftest import Gated, Owned, attributes, make_gate, sell
from tests.conftest import Clock

DEVICE = "a1b2c3d4e5f6a7b8c9d0"


def code(decision: object) -> str:
    assert isinstance(decision, Refuse), decision
    return decision.code


def decide(gated: Gated, request: object) -> object:
    return gated.run(lambda gate: gate.decide(request))  # type: ignore[arg-type]


def activate(gated: Gated, owned: Owned, device: str | None = None) -> object:
    """Decide and activate, as for a request whose upstream can be connected."""

    async def both(gate: Gate) -> object:
        decision = await gate.decide(attributes(owned.secret, device=device))
        if isinstance(decision, TokenAdmission):
            return await gate.start_session(decision, "request-1") or decision
        return decision

    decision = gated.run(both)
    # As the listener does when it receives the invalidation.
    gated.memory_tier.invalidate(owned.token.secret_hash, owned.token.id)
    return decision


@pytest.fixture
def owned(gated: Gated) -> Owned:
    return sell(gated.factory, gated.settings, "buyer")


def token_row(factory: Sessions, owned: Owned) -> AccessToken:
    with factory() as session:
        return session.get_one(AccessToken, owned.token.id)


def test_a_valid_token_is_admitted_and_not_activated_before_its_session_starts(gated: Gated, owned: Owned) -> None:
    decision = decide(gated, attributes(owned.secret))
    assert isinstance(decision, TokenAdmission)
    assert decision.session_id is None
    assert token_row(gated.factory, owned).activated_at is None
    begun = activate(gated, owned)
    assert isinstance(begun, TokenAdmission)
    assert begun.session_id is not None
    assert token_row(gated.factory, owned).activated_at is not None


def test_the_second_request_is_decided_from_memory(gated: Gated, owned: Owned) -> None:
    activate(gated, owned)
    first = decide(gated, attributes(owned.secret))
    again = gated.gate.decide_from_memory(attributes(owned.secret))
    assert isinstance(first, TokenAdmission)
    assert isinstance(again, TokenAdmission)
    assert (again.snapshot, again.session_id) == (first.snapshot, first.session_id)
    assert again.allowance.remaining == first.allowance.remaining - 1


@pytest.mark.parametrize("path", [b"/a/../b", b"/a/%2e%2e/b", b"/a%2f..%2fb", b"/a/.", b"/%00", b"/a\x7f", b"/a#b"])
def test_dot_segments_control_bytes_and_fragments_are_refused_before_anything_else(gated: Gated, path: bytes) -> None:
    assert code(decide(gated, attributes(None, path=path))) == "bad_request"


@pytest.mark.parametrize(
    "path",
    [b"//x", b"/a\\b", b"/a%2fb", b"/a%5Cb", b"/%252e", b"/a/..;/b", b"/a;b", b"/%zz", b"/a%3Fb", b"/..."],
)
def test_a_path_that_servers_read_differently_passes_only_an_unrestricted_scope(
    gated: Gated, owned: Owned, path: bytes
) -> None:
    """An unrestricted scope sells the upstream whole: what RFC 3986 allows goes up byte for byte."""
    assert isinstance(decide(gated, attributes(owned.secret, path=path)), TokenAdmission)
    narrow = sell(gated.factory, gated.settings, "narrow", scope="certificates_only")
    assert code(decide(gated, attributes(narrow.secret, path=b"/certificates/filter" + path))) in {
        "bad_request",
        "scope_denied",
    }


def test_a_method_beyond_the_ordinary_ones_passes_only_an_unrestricted_scope(gated: Gated, owned: Owned) -> None:
    narrow = sell(gated.factory, gated.settings, "narrow", scope="certificates_only")
    for method in ("PROPFIND", "REPORT", "QUERY", "get"):
        assert isinstance(decide(gated, attributes(owned.secret, method=method)), TokenAdmission)
        request = attributes(narrow.secret, path=b"/certificates/filter", method=method)
        assert code(decide(gated, request)) == "scope_denied"


def test_the_server_as_a_whole_is_within_an_unrestricted_scope_only(gated: Gated, owned: Owned) -> None:
    narrow = sell(gated.factory, gated.settings, "narrow", scope="certificates_only")
    assert isinstance(decide(gated, attributes(owned.secret, path=b"*", method="OPTIONS")), TokenAdmission)
    assert code(decide(gated, attributes(narrow.secret, path=b"*", method="OPTIONS"))) == "scope_denied"


def test_no_token_and_a_made_up_token_are_refused_without_a_look_up(gated: Gated) -> None:
    assert code(gated.gate.decide_from_memory(attributes(None))) == "token_missing"
    for made_up in ("", "x", "x" * 64, "ü" * 64, "x" * 63 + "=", "x" * 10_000):
        assert code(gated.gate.decide_from_memory(attributes(made_up))) == "token_invalid"


def test_each_decision_is_counted_once_by_the_tier_that_found_the_token(gated: Gated, owned: Owned) -> None:
    counters = Counters()
    gate = make_gate(gated.settings, gated.database, gated.memory_tier, counters=counters)

    async def ask() -> None:
        stranger = secrets.new_secret(gated.settings.tokens)
        for request in (owned.secret, owned.secret, None, "x" * 64, stranger, stranger):
            await gate.decide(attributes(request))
        await gate.decide(attributes(owned.secret, path=b"/a/../b"))

    asyncio.run(ask())
    assert {key: count for key, count in counters.take().items() if key[0] == "admissions"} == {
        ("admissions", "database", "admitted"): 1,
        ("admissions", "memory", "admitted"): 1,
        ("admissions", "none", "refused"): 3,
        ("admissions", "negative", "refused"): 2,
    }


def test_a_genuine_secret_without_a_token_is_invalid(gated: Gated) -> None:
    unknown = secrets.new_secret(gated.settings.tokens)
    assert code(decide(gated, attributes(unknown))) == "token_invalid"


def test_a_revoked_token_is_refused(gated: Gated, owned: Owned) -> None:
    with gated.factory.begin() as session:
        revocation.revoke(session, owned.user, owned.token.id, settings=gated.settings, actor=PLATFORM)
    assert code(decide(gated, attributes(owned.secret))) == "token_revoked"


def test_an_expired_token_is_refused_to_the_second(gated: Gated, owned: Owned, time: Clock) -> None:
    activate(gated, owned)
    time.advance(seconds=3599)
    assert isinstance(decide(gated, attributes(owned.secret)), TokenAdmission)
    time.advance(seconds=1)
    assert code(gated.gate.decide_from_memory(attributes(owned.secret))) == "token_expired"


def test_an_expired_token_stays_expired_when_the_clock_is_set_back(gated: Gated, owned: Owned, time: Clock) -> None:
    """Used time does not run backwards: a refund counts it so, and admission has to."""
    activate(gated, owned)
    time.advance(seconds=3600)
    assert code(decide(gated, attributes(owned.secret))) == "token_expired"
    with gated.factory.begin() as session:
        assert proxy_sessions.close_sessions_of_ended_tokens(session) == 1
    time.advance(minutes=-50)
    # From memory, from the database, and at the activation.
    assert code(decide(gated, attributes(owned.secret))) == "token_expired"
    memory_tier = MemoryTier(gated.settings.proxy.known_tokens)
    fresh = replace(gated, memory_tier=memory_tier, gate=make_gate(gated.settings, gated.database, memory_tier))
    assert code(decide(fresh, attributes(owned.secret))) == "token_expired"
    with gated.factory.begin() as session, pytest.raises(TokenUnusable, match="expired"):
        rules = gated.settings.sessions
        proxy_sessions.start_session(session, owned.token.id, device=None, rules=rules, actor=PLATFORM)


def test_a_paused_token_is_refused(gated: Gated, owned: Owned) -> None:
    activate(gated, owned)
    with gated.factory.begin() as session:
        session.execute(
            update(AccessToken)
            .where(AccessToken.id == owned.token.id)
            .values(paused_at=clock.now(), pause_limit_seconds=3600)
        )
    assert code(decide(gated, attributes(owned.secret))) == "token_paused"


def test_a_token_paused_for_a_debt_is_refused_with_what_ends_the_pause(gated: Gated, owned: Owned) -> None:
    with gated.factory.begin() as session:
        token = session.get_one(AccessToken, owned.token.id)
        token.paused_at, token.pause_limit_seconds = clock.now(), debt_pauses.NO_LIMIT_SECONDS
        session.add(TokenPause(token_id=token.id, started_at=token.paused_at, for_debt=True))
    refusal = decide(gated, attributes(owned.secret))
    assert isinstance(refusal, Refuse)
    assert refusal.code == "token_paused"
    assert "once the debt is repaid" in refusal.detail
    assert ("долг" in refusal.note, refusal.page) == (True, f"/tokens/{owned.token.id}")


def test_a_token_of_a_disabled_user_is_refused(gated: Gated, owned: Owned) -> None:
    with gated.factory.begin() as session:
        roles.set_active(session, owned.user.id, active=False, actor=PLATFORM)
    assert code(decide(gated, attributes(owned.secret))) == "account_disabled"


@pytest.mark.parametrize("device", ["short", "x" * 256, ""])
def test_a_device_of_odd_length_is_refused(gated: Gated, owned: Owned, device: str) -> None:
    assert code(decide(gated, attributes(owned.secret, device=device))) == "device_invalid"


def test_a_device_is_needed_when_the_policy_requires_one(gated: Gated, owned: Owned) -> None:
    strict = gated.settings.model_copy(
        update={"sessions": gated.settings.sessions.model_copy(update={"device_policy": "required"})}
    )
    gate = make_gate(strict, gated.database, gated.memory_tier)
    assert code(gated.run(lambda _: gate.decide(attributes(owned.secret)))) == "device_missing"
    assert isinstance(gated.run(lambda _: gate.decide(attributes(owned.secret, device=DEVICE))), TokenAdmission)


def test_a_scope_limits_the_paths_and_an_unknown_scope_reaches_nothing(gated: Gated) -> None:
    narrow = sell(gated.factory, gated.settings, "narrow", scope="certificates_only")
    assert isinstance(decide(gated, attributes(narrow.secret, path=b"/certificates/filter")), TokenAdmission)
    assert isinstance(decide(gated, attributes(narrow.secret, path=b"/certificates/%66ilter")), TokenAdmission)
    assert code(decide(gated, attributes(narrow.secret, path=b"/users/currentUser"))) == "scope_denied"
    with gated.factory.begin() as session:
        session.execute(update(AccessToken).where(AccessToken.id == narrow.token.id).values(scope="gone"))
    gated.memory_tier.connected()
    assert code(decide(gated, attributes(narrow.secret, path=b"/certificates/filter"))) == "scope_denied"


def test_another_device_gets_a_conflict_until_the_session_is_idle(gated: Gated, owned: Owned, time: Clock) -> None:
    first = activate(gated, owned, DEVICE)
    assert isinstance(first, TokenAdmission)
    assert code(activate(gated, owned, "another-device")) == "device_conflict"
    assert code(activate(gated, owned, None)) == "device_conflict"
    time.advance(seconds=301)
    taken = activate(gated, owned, "another-device")
    assert isinstance(taken, TokenAdmission)
    assert taken.session_id != first.session_id
    with gated.factory() as session:
        rows = session.scalars(select(ProxySession).order_by(ProxySession.started_at)).all()
    assert [row.ended_at is None for row in rows] == [False, True]


def test_a_conflict_names_the_remedies_and_when_to_retry(gated: Gated, owned: Owned, time: Clock) -> None:
    """RFC 9110, 10.2.3: Retry-After says how long to wait: until the first device has been idle for long enough."""
    activate(gated, owned, DEVICE)
    time.advance(seconds=100)
    other = attributes(owned.secret, device="another-device")
    contested = decide(gated, other)
    assert isinstance(contested, TokenAdmission)
    page = f"/tokens/{owned.token.id}#device"
    for refused in (
        gated.run(lambda gate: gate.check_device_conflict(contested)),
        activate(gated, owned, "another-device"),
    ):
        assert isinstance(refused, Refuse)
        assert refused.page == page
        assert dict(refused.headers)["Retry-After"] == "200"
        assert f"/tokens/{owned.token.id}#device, or wait" in refused.detail


def test_a_conflict_is_found_before_the_upstream_is_connected(gated: Gated, owned: Owned, time: Clock) -> None:
    activate(gated, owned, DEVICE)
    other = attributes(owned.secret, device="another-device")
    contested = decide(gated, other)
    assert isinstance(contested, TokenAdmission)
    assert contested.needs_device_check
    assert code(gated.run(lambda gate: gate.check_device_conflict(contested))) == "device_conflict"
    time.advance(seconds=301)
    assert gated.run(lambda gate: gate.check_device_conflict(contested)) is contested


def test_an_activation_that_takes_too_long_is_rolled_back(
    gated: Gated, owned: Owned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "START_SESSION_SECONDS", -1.0)
    assert code(activate(gated, owned)) == "unavailable"
    assert token_row(gated.factory, owned).activated_at is None


def test_slow_look_ups_do_not_delay_rechecks_of_revoked_tokens(gated: Gated, owned: Owned) -> None:
    async def main(_: Gate) -> None:
        released = threading.Event()
        slow = [asyncio.ensure_future(gated.database.run(lambda: released.wait(20))) for _ in range(30)]
        try:
            async with asyncio.timeout(5):
                assert owned.token.id in await gated.database.find_by_id([owned.token.id])
        finally:
            released.set()
            await asyncio.gather(*slow)

    gated.run(main)


def test_a_released_session_admits_another_device(gated: Gated, owned: Owned) -> None:
    first = activate(gated, owned, DEVICE)
    assert isinstance(first, TokenAdmission)
    assert first.session_id is not None
    with gated.factory.begin() as session:
        proxy_sessions.release(session, owned.user, first.session_id, PLATFORM)
    assert isinstance(activate(gated, owned, "another-device"), TokenAdmission)


def test_the_first_device_locks_a_session_that_was_opened_without_one(gated: Gated, owned: Owned) -> None:
    assert isinstance(activate(gated, owned, None), TokenAdmission)
    assert isinstance(activate(gated, owned, DEVICE), TokenAdmission)
    assert code(activate(gated, owned, "another-device")) == "device_conflict"


def test_with_the_database_down_cached_tokens_pass_for_the_grace_and_all_others_wait(
    gated: Gated, owned: Owned
) -> None:
    now = [1000.0]
    activate(gated, owned)
    assert isinstance(decide(gated, attributes(owned.secret)), TokenAdmission)
    other = sell(gated.factory, gated.settings, "other")

    dead = gated.settings.database.model_copy(update={"url": "postgresql+psycopg2://nobody@127.0.0.1:1/none"})
    unreachable = TokenDatabase(gated.settings.model_copy(update={"database": dead}))
    gate = make_gate(gated.settings, unreachable, gated.memory_tier, monotonic=lambda: now[0])
    gated.memory_tier.disconnected(now[0], 1.0)
    now[0] += 30
    assert gate.decide_from_memory(attributes(owned.secret)) is None
    assert isinstance(gated.run(lambda _: gate.decide(attributes(owned.secret))), TokenAdmission)
    assert code(gated.run(lambda _: gate.decide(attributes(other.secret)))) == "unavailable"
    now[0] += timedelta(seconds=gated.settings.proxy.grace_seconds).total_seconds()
    assert code(gated.run(lambda _: gate.decide(attributes(owned.secret)))) == "unavailable"
    unreachable.close()

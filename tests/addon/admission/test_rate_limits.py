"""Rate and concurrency limits: in any minute, across workers, with the time to retry; limit of failed admissions."""

import asyncio
import uuid

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from addon.admission.guess_limiter import GuessLimiter
from addon.admission.rate_limit_sync import RateLimitSync
from addon.admission.rate_limits import RateLimiter

TOKEN = uuid.uuid4()


class Seconds:
    """A wall clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1_000_000.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def make(seconds: Seconds, *, per_minute: int = 5, max_concurrent: int = 2, workers: int = 1) -> RateLimiter:
    return RateLimiter(per_minute=per_minute, max_concurrent=max_concurrent, workers=workers, seconds=seconds)


def test_no_minute_has_more_requests_than_the_limit(seconds: Seconds) -> None:
    rate_limiter = make(seconds)
    admitted = []
    for _ in range(1000):
        if rate_limiter.take(TOKEN).allowed:
            admitted.append(seconds.now)
        seconds.now += 0.7
    for moment in admitted:
        assert sum(moment - 60 < other <= moment for other in admitted) <= 5
    assert len(admitted) >= 50


def test_a_refused_request_gets_the_exact_time_to_retry(seconds: Seconds) -> None:
    rate_limiter = make(seconds)
    for _ in range(5):
        rate_limiter.take(TOKEN)
        seconds.now += 3
    refused = rate_limiter.take(TOKEN)
    assert not refused.allowed
    seconds.now += refused.reset - 1.1
    assert not rate_limiter.take(TOKEN).allowed
    seconds.now += 1.1
    assert rate_limiter.take(TOKEN).allowed


def test_the_remaining_requests_are_counted_down(seconds: Seconds) -> None:
    rate_limiter = make(seconds)
    assert [rate_limiter.take(TOKEN).remaining for _ in range(6)] == [4, 3, 2, 1, 0, 0]
    assert rate_limiter.take(uuid.uuid4()).remaining == 4


def test_requests_in_flight_are_limited(seconds: Seconds) -> None:
    rate_limiter = make(seconds)
    first, second = rate_limiter.take(TOKEN), rate_limiter.take(TOKEN)
    first.window.request_started()
    assert rate_limiter.take(TOKEN).allowed
    second.window.request_started()
    crowded = rate_limiter.take(TOKEN)
    assert (crowded.allowed, crowded.is_concurrency_limited, crowded.remaining) == (False, True, 2)
    first.window.request_finished()
    assert rate_limiter.take(TOKEN).remaining == 1


def test_without_redis_each_worker_keeps_to_its_share_of_the_limit(seconds: Seconds) -> None:
    rate_limiter = make(seconds, per_minute=10, workers=2)
    rate_limiter.take(TOKEN)
    [(_, window)] = rate_limiter.take_changed()
    rate_limiter.apply_totals(window, total=1, oldest=int(seconds.now), in_flight=0, own_then=1)
    rate_limiter.is_isolated = True
    assert [rate_limiter.take(TOKEN).allowed for _ in range(6)] == [True] * 4 + [False] * 2
    assert [rate_limiter.take(uuid.uuid4()).limit for _ in range(2)] == [10, 10]
    fresh = uuid.uuid4()
    assert [rate_limiter.take(fresh).allowed for _ in range(6)] == [True] * 5 + [False]


def test_an_idle_token_has_its_whole_limit_again(seconds: Seconds) -> None:
    rate_limiter = make(seconds, per_minute=10, workers=4)
    for _ in range(6):
        rate_limiter.take(TOKEN)
    [(_, window)] = rate_limiter.take_changed()
    rate_limiter.apply_totals(window, total=6, oldest=int(seconds.now), in_flight=0, own_then=6)
    seconds.now += 5
    assert rate_limiter.take(TOKEN)[:3] == (True, 10, 3)


def test_old_counts_of_other_workers_never_lead_to_a_retry_at_once(seconds: Seconds) -> None:
    rate_limiter = make(seconds)
    window = rate_limiter.take(TOKEN).window
    oldest = int(seconds.now) - 60
    rate_limiter.apply_totals(window, total=6, oldest=oldest, in_flight=0, own_then=1)
    seconds.now += 0.9
    assert int(seconds.now) - oldest > 60
    refused = rate_limiter.take(TOKEN)
    assert (refused.allowed, refused.reset) == (False, 1)


def test_a_failed_synchronisation_isolates_the_worker(seconds: Seconds) -> None:
    async def main() -> None:
        rate_limiter = make(seconds)
        nowhere = Redis.from_url("redis://127.0.0.1:1")
        sync = RateLimitSync(nowhere, rate_limiter)
        await sync.sync()
        assert not rate_limiter.is_isolated
        rate_limiter.take(TOKEN)
        with pytest.raises(RedisError):
            await sync.sync()
        assert rate_limiter.is_isolated
        await nowhere.aclose()

    asyncio.run(main())


def test_the_window_of_an_idle_token_is_dropped(seconds: Seconds) -> None:
    rate_limiter = make(seconds)
    rate_limiter.take(TOKEN)
    rate_limiter.take_changed()
    seconds.now += 100
    assert rate_limiter.take_changed() == []
    assert rate_limiter._windows == {}


def test_two_workers_share_one_limit_through_redis(environment: dict[str, str], redis: object) -> None:
    async def main() -> list[bool]:
        client = Redis.from_url(environment["REDIS_URL"])
        workers = [RateLimiter(per_minute=10, max_concurrent=2, workers=2) for _ in range(2)]
        syncs = [RateLimitSync(client, rate_limiter) for rate_limiter in workers]
        admitted = []
        for turn in range(14):
            rate_limiter = workers[turn % 2]
            admitted.append(rate_limiter.take(TOKEN).allowed)
            for sync in syncs:
                await sync.sync()
        windows = [rate_limiter.take(TOKEN).window for rate_limiter in workers]
        for window in windows:
            window.request_started()
        for sync in [*syncs, *syncs]:
            await sync.sync()
        assert all(rate_limiter.take(TOKEN).is_concurrency_limited for rate_limiter in workers)
        windows[0].request_finished()
        for sync in [*syncs, *syncs]:
            await sync.sync()
        assert not workers[1].take(TOKEN).is_concurrency_limited
        await client.aclose()
        return admitted

    admitted = asyncio.run(main())
    # One more may be admitted by a worker that had not synchronised yet.
    assert 10 <= sum(admitted) <= 11
    assert not admitted[-1]


def test_failures_of_an_address_are_limited_per_minute() -> None:
    now = [0.0]
    failures = GuessLimiter(3, monotonic=lambda: now[0])
    for _ in range(3):
        assert failures.retry_after("10.0.0.1") is None
        failures.add("10.0.0.1")
    assert failures.retry_after("10.0.0.1") == 61
    assert failures.retry_after("10.0.0.2") is None
    now[0] = 60.0
    assert failures.retry_after("10.0.0.1") is None


def test_ipv6_addresses_count_by_their_network() -> None:
    failures = GuessLimiter(1)
    failures.add("2001:db8::1")
    assert failures.retry_after("2001:db8:0:0:ffff::2") is not None
    assert failures.retry_after("2001:db8:0:1::1") is None


def test_two_mapped_ipv4_addresses_are_two_clients_and_one_spelt_twice_is_one() -> None:
    failures = GuessLimiter(1)
    failures.add("::ffff:192.0.2.7")
    assert failures.retry_after("192.0.2.7") is not None
    assert failures.retry_after("::ffff:192.0.2.8") is None
    failures.add("fe80::1%eth0")
    assert failures.retry_after("fe80::2%eth1") is not None

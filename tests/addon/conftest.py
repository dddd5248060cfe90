"""Fixtures of the gateway's tests: a gate on a real database, a buyer with a token, real workers."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from time import monotonic

import pytest
from redis.asyncio import Redis

from addon.admission.credentials import Credential
from addon.admission.gate import Gate
from addon.admission.guess_limiter import GuessLimiter
from addon.admission.identification import TokenIdentifier
from addon.admission.rate_limits import RateLimiter
from addon.admission.request_attributes import RequestAttributes
from addon.http1.upstream import Upstream
from addon.recording.counters import Counters
from addon.token_cache.database import TokenDatabase
from addon.token_cache.lookup import TokenLookup
from addon.token_cache.memory_tier import MemoryTier
from addon.token_cache.redis_tier import RedisTier
from models import database
from models.access_tokens import AccessToken
from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.tokens import purchase as token_purchase
from models.users import User
from tests.addon.processes import Proxy, free_port, proxy_environment, start_upstream
from tests.conftest import make_user


@dataclass
class Owned:
    """A user and their token, committed to the database."""

    user: User
    token: AccessToken
    secret: str


def sell(factory: Sessions, settings: Settings, name: str, *, scope: str = "full", hours: int = 1) -> Owned:
    """Create a buyer with a unique name and 1000 ZNC, and sell them a token."""
    with factory.begin() as session:
        user = make_user(session, f"{name}-{uuid.uuid4().hex[:8]}", balance="1000")
        token, secret = token_purchase.purchase(
            session, user, hours=hours, scope=scope, name="", settings=settings, actor=PLATFORM
        )
    return Owned(user, token, secret)


def attributes(
    secret: str | None, *, path: bytes = b"/", method: str = "GET", device: str | None = None
) -> RequestAttributes:
    """Return the attributes of a request."""
    credential = None if secret is None else Credential(secret, "x-access-token")
    return RequestAttributes("127.0.0.1", method, path, credential, device, "pytest")


def make_lookup(
    settings: Settings,
    database: TokenDatabase,
    memory_tier: MemoryTier,
    monotonic: Callable[[], float] = monotonic,
    redis_tier: RedisTier | None = None,
) -> TokenLookup:
    """Return a look-up; without `redis_tier` its Redis is unreachable, so that it always asks the database."""
    redis_tier = redis_tier or RedisTier(Redis.from_url("redis://127.0.0.1:1"))
    grace = settings.proxy.grace_seconds
    return TokenLookup(memory_tier, redis_tier, database, grace_seconds=grace, monotonic=monotonic)


def make_gate(
    settings: Settings,
    database: TokenDatabase,
    memory_tier: MemoryTier,
    monotonic: Callable[[], float] = monotonic,
    *,
    redis_tier: RedisTier | None = None,
    counters: Counters | None = None,
) -> Gate:
    """Return a gate on a look-up of its own."""
    lookup = make_lookup(settings, database, memory_tier, monotonic, redis_tier)
    limits = settings.limits
    return Gate(
        settings,
        TokenIdentifier(settings.tokens, lookup),
        memory_tier,
        database=database,
        rate_limiter=RateLimiter(per_minute=limits.proxy_per_minute, max_concurrent=limits.proxy_at_once, workers=1),
        guess_limiter=GuessLimiter(limits.failures_per_minute, monotonic),
        upstream=Upstream((("127.0.0.1", 1),), b"upstream.test"),
        counters=counters or Counters(),
    )


@dataclass
class Gated:
    """A gate with its cache and database."""

    settings: Settings
    factory: Sessions
    memory_tier: MemoryTier
    database: TokenDatabase
    gate: Gate

    def run[T](self, call: Callable[[Gate], Awaitable[T]]) -> T:
        async def main() -> T:
            return await call(self.gate)

        return asyncio.run(main())


@pytest.fixture
def gated(committed: tuple[Settings, Sessions]) -> Iterator[Gated]:
    """A gate whose cache lease holds, as if its listener were connected."""
    settings, factory = committed
    token_database, memory_tier = TokenDatabase(settings), MemoryTier(100)
    memory_tier.connected()
    yield Gated(settings, factory, memory_tier, token_database, make_gate(settings, token_database, memory_tier))
    token_database.close()


@pytest.fixture(scope="session")
def upstream() -> Iterator[str]:
    """The sample upstream's address."""
    process, address = start_upstream()
    yield address
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture
def proxy(committed: tuple[Settings, Sessions], upstream: str, environment: dict[str, str]) -> Iterator[Proxy]:
    """A running worker on a database of its own."""
    settings, _ = committed
    port = free_port()
    proxy = Proxy(port, proxy_environment(settings, environment["REDIS_URL"], upstream, port))
    proxy.start_worker()
    yield proxy
    proxy.stop()


@dataclass(frozen=True)
class SharedWorker:
    """One worker for all tests of a module, and its database."""

    committed: tuple[Settings, Sessions]
    proxy: Proxy


@pytest.fixture(scope="module")
def shared_worker(
    make_database: Callable[[], str], upstream: str, environment: dict[str, str]
) -> Iterator[SharedWorker]:
    """A worker for tests that do not change it: starting one takes longer than most of them."""
    settings = config.load_settings({**environment, "DATABASE_URL": make_database()})
    engine, port = database.connect(settings.database), free_port()
    proxy = Proxy(port, proxy_environment(settings, environment["REDIS_URL"], upstream, port))
    proxy.start_worker()
    yield SharedWorker((settings, database.sessions(engine)), proxy)
    proxy.stop()
    engine.dispose()

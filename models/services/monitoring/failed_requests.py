"""Recent failed requests by request id, written to Redis by proxy and portal.

Only the format and the limits are here; nothing in `models` connects to Redis. A path is stored without its query and
without anything that looks like a secret.
"""

import json
import re
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

# At most this many are kept, the newest ones, and none longer than this after the last one.
KEPT, SECONDS = 20_000, 7 * 24 * 3600
ASKED_KEY, ORDER_KEY = "zenzefi:asked:1", "zenzefi:asked:order:1"
# Adds requests (an id and a line each) and trims the oldest, so the list is bounded at any rate.
ADD = f"""
for place = 1, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
    redis.call('RPUSH', KEYS[2], ARGV[place])
end
while redis.call('LLEN', KEYS[2]) > {KEPT} do
    redis.call('HDEL', KEYS[1], redis.call('LPOP', KEYS[2]))
end
redis.call('EXPIRE', KEYS[1], {SECONDS})
redis.call('EXPIRE', KEYS[2], {SECONDS})
"""
REQUEST_ID = re.compile(r"[0-9A-Za-z-]{8,64}", re.ASCII)
LONGEST_PATH = 300
MASKED = "[masked]"
_LONG = re.compile(r"[A-Za-z0-9._~-]{20,}")

Side = Literal["portal", "proxy"]


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """A request that was refused or failed. `at` is in seconds; `user_id` is known only if it was authenticated."""

    at: float
    side: Side
    method: str
    path: str
    status: int
    code: str
    user_id: str | None
    address: str

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)


def encode(asked: FailedRequest) -> str:
    """Encode a request for Redis."""
    return json.dumps(asdict(asked), separators=(",", ":"))


def decode(line: bytes | str | None) -> FailedRequest | None:
    """Decode a request from Redis; None for another version's format."""
    try:
        return None if line is None else FailedRequest(**json.loads(line))
    except (ValueError, TypeError):
        return None


def redacted_path(path: str) -> str:
    """Return a path of the portal without secrets: ids stay, a link's secret is removed."""
    return _LONG.sub(lambda found: found[0] if _is_id(found[0]) else MASKED, path)[:LONGEST_PATH]


def _is_id(part: str) -> bool:
    try:
        return str(uuid.UUID(part)) == part.lower()
    except ValueError:
        return False

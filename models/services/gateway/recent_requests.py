"""Recent requests of a token for its owner: format of the entries that workers write to Redis and the portal reads.

Only format and limits are here; nothing in `models` connects to Redis. A path is stored without its
query, and anything that looks like a secret is masked.
"""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _escaped

# Entries kept per token, and for how long after the last one; refusals longer, because users ask about them
# later.
REQUESTS_KEPT, REQUESTS_SECONDS = 50, 3600
REFUSALS_KEPT, REFUSALS_SECONDS = 20, 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class RecentRequest:
    """A finished request. `code` is why it was refused or aborted; status 0: no response was sent."""

    at: datetime
    method: str
    path: str
    status: int
    bytes_in: int
    bytes_out: int
    milliseconds: float
    code: str

    @property
    def is_refusal(self) -> bool:
        return bool(self.code) and self.status >= 400


def requests_key(token_id: uuid.UUID) -> str:
    """Return the Redis key of a token's recent requests."""
    return f"zenzefi:traffic:{token_id}"


def refusals_key(token_id: uuid.UUID) -> str:
    """Return the Redis key of a token's recent refusals."""
    return f"zenzefi:refused:{token_id}"


def encode(at: float, method: str, path: str, outcome: tuple[int, int, int, float], code: str) -> str:
    """Return the stored form; `at` is Unix time, `outcome` is status, bytes in, bytes out and milliseconds.

    Built by hand, which takes a third of the time of a JSON encoder: a worker writes thousands of lines a second.
    """
    status, bytes_in, bytes_out, milliseconds = outcome
    numbers = f"{status},{bytes_in},{bytes_out},{milliseconds}"
    return f"[{round(at, 3)},{_escaped(method)},{_escaped(path)},{numbers},{_escaped(code)}]"


def decode(lines: Iterable[bytes], *, since: datetime) -> list[RecentRequest]:
    """Return the entries since `since`, newest first over all workers.

    The keys expire some time after the last entry, so an older entry lives on for as long as newer ones follow it:
    only this filter makes "the last hour" true. Entries of other versions are omitted.
    """
    found = []
    for line in lines:
        try:
            at, method, path, status, bytes_in, bytes_out, milliseconds, code = json.loads(line)
            moment = datetime.fromtimestamp(at, UTC)
        except (ValueError, TypeError):
            continue
        if moment < since:
            continue
        found.append(RecentRequest(moment, method, path, status, bytes_in, bytes_out, milliseconds, code))
    return sorted(found, key=lambda seen: seen.at, reverse=True)

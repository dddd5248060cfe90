"""A token's last requests, as its owner sees them: what the workers write to Redis and the portal reads there.

Only the form is here, and how much is kept; nothing in `models` talks to Redis. A path is written down without its
query and without anything of a secret's shape.
"""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

# So many requests of a token are kept, and for so long after the last one; refusals longer, since they are asked about
# later.
REQUESTS_KEPT, REQUESTS_SECONDS = 50, 3600
REFUSALS_KEPT, REFUSALS_SECONDS = 20, 7 * 24 * 3600
# Made once: a worker writes thousands of lines a second, and json.dumps makes an encoder for each of ours.
_encode = json.JSONEncoder(separators=(",", ":")).encode


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
    """Return where a token's last requests are."""
    return f"zenzefi:traffic:{token_id}"


def refusals_key(token_id: uuid.UUID) -> str:
    """Return where a token's last refusals are."""
    return f"zenzefi:refused:{token_id}"


def encode(at: float, method: str, path: str, figures: tuple[int, int, int, float], code: str) -> str:
    """Write a request down; `at` is wall-clock time, the figures are status, bytes in and out, and milliseconds."""
    return _encode((round(at, 3), method, path, *figures, code))


def decode(lines: Iterable[bytes], *, since: datetime) -> list[RecentRequest]:
    """Return what was written since `since`, newest first whichever worker wrote it.

    The keys expire some time after the last entry, so an older entry lives on for as long as newer ones follow it:
    only this filter makes "the last hour" true. Entries that another version wrote are left out.
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

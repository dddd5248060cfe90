"""Store the workers' usage counts: per session, and per token and platform by day.

Days of a token are those of its owner's time zone at that moment, days of the platform are those of UTC.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from models import time_zones

# In plain SQL and with one array for each column: a busy worker runs this every second for thousands of sessions, and
# the expression language would take longer to write the statement than the database to carry it out.
#
# Workers that share sessions lock their rows in the same order, which prevents deadlocks. The rows of the
# days follow those of the sessions, likewise in order.
_ADD = text("""
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:requests AS bigint[]), CAST(:bytes_in AS bigint[]),
            CAST(:bytes_out AS bigint[]), CAST(:moments AS timestamptz[])
        ) AS given (id, requests, bytes_in, bytes_out, moment)
    ), zones AS (
        SELECT * FROM unnest(CAST(:zones AS text[]), CAST(:offsets AS int[])) AS zones (name, minutes)
    ), held AS (
        SELECT id, token_id, user_id, request_count FROM proxy_sessions
        WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE
    ), counted AS (
        SELECT given.*, token_id, user_id, CAST(moment AT TIME ZONE 'UTC' AS date) AS utc_day,
            CAST(moment AT TIME ZONE 'UTC' + make_interval(mins => coalesce(zones.minutes, 0)) AS date) AS day,
            CASE WHEN request_count = 0 AND requests > 0 THEN 1 ELSE 0 END AS sessions
        FROM given JOIN held USING (id) JOIN users ON users.id = user_id LEFT JOIN zones ON zones.name = users.time_zone
    ), of_all AS (
        INSERT INTO usage_days AS d (day, requests, bytes_in, bytes_out, sessions)
        SELECT utc_day, sum(requests), sum(bytes_in), sum(bytes_out), sum(sessions)
        FROM counted GROUP BY utc_day ORDER BY utc_day
        ON CONFLICT (day) DO UPDATE SET requests = d.requests + excluded.requests,
            bytes_in = d.bytes_in + excluded.bytes_in, bytes_out = d.bytes_out + excluded.bytes_out,
            sessions = d.sessions + excluded.sessions
    ), of_tokens AS (
        INSERT INTO token_usage_days AS d (token_id, day, user_id, requests, bytes_in, bytes_out, sessions)
        SELECT token_id, day, user_id, sum(requests), sum(bytes_in), sum(bytes_out), sum(sessions)
        FROM counted GROUP BY token_id, day, user_id ORDER BY token_id, day
        ON CONFLICT (token_id, day) DO UPDATE SET requests = d.requests + excluded.requests,
            bytes_in = d.bytes_in + excluded.bytes_in, bytes_out = d.bytes_out + excluded.bytes_out,
            sessions = d.sessions + excluded.sessions
    )
    UPDATE proxy_sessions AS s SET request_count = s.request_count + c.requests, bytes_in = s.bytes_in + c.bytes_in,
        bytes_out = s.bytes_out + c.bytes_out, last_activity = greatest(s.last_activity, c.moment)
    FROM counted AS c WHERE s.id = c.id
    """)


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """Counts of one worker for one session since its last flush. Bytes are body bytes."""

    session_id: uuid.UUID
    requests: int
    bytes_in: int
    bytes_out: int
    last_activity: datetime


def add_counts(session: Session, counts: Sequence[SessionCounts]) -> None:
    """Add a worker's counts to their sessions and days in one statement, whether a session is still open or not.

    Each session may occur once. A count belongs to the day of its last activity; a session is counted on the day of
    its first request.
    """
    if counts:
        ids = [str(count.session_id) for count in counts]
        # Offsets of Python's zones: a zone that the database does not know would fail all counts. They are
        # those at the newest count; older counts differ only across a change of daylight saving time.
        offsets = time_zones.offsets_at(max(count.last_activity for count in counts))
        columns = {
            "zones": list(offsets),
            "offsets": list(offsets.values()),
            "ids": ids,
            "requests": [count.requests for count in counts],
            "bytes_in": [count.bytes_in for count in counts],
            "bytes_out": [count.bytes_out for count in counts],
            "moments": [count.last_activity for count in counts],
        }
        session.execute(_ADD, columns)

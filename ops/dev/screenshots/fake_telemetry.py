"""Fake data of proxy workers, jobs and admins: recent requests and reports in Redis, statistics, announcements."""

from datetime import timedelta
from uuid import UUID

from redis import Redis

from models import clock
from models.announcements import Level
from models.services.actor import Actor
from models.services.admin import user_profile
from models.services.gateway import recent_requests
from models.services.gateway import workers as gateway_workers
from models.services.ledger import verification as ledger_verification
from models.services.monitoring import health_report
from models.services.notifications import announcements
from models.services.reports import daily_stats
from models.services.settings import overrides
from models.users import User
from ops.dev.screenshots.actors import LAPTOP, TO_TRY, SampleActions

# Recent requests: method, path, (status, bytes in, bytes out, milliseconds), refusal code.
_REQUESTS = (
    ("GET", "/certificates/filter", (200, 412, 18_204, 61.2), ""),
    ("GET", "/certificates/details/WDD2050091F123456", (200, 398, 4_310, 48.9), ""),
    ("POST", "/certificates/activate", (403, 1_022, 211, 0.4), "scope_denied"),
    ("GET", "/assets/app.9c1f2b.js", (200, 388, 812_442, 143.0), ""),
    ("PUT", "/uploads/vehicle-log-2026-11-24T18-31-07-very-long-name.zip", (201, 48_310_221, 96, 5_204.7), ""),
    ("GET", "/live", (101, 18_400, 2_204_112, 1_204_300.0), ""),
    ("GET", "/certificates/filter", (504, 412, 188, 30_000.0), "upstream_timeout"),
)
_REFUSED = {"token_expired": 1_204, "scope_denied": 311, "rate_limited": 96, "device_conflict": 12}
_ANNOUNCEMENT = (
    "Works on the night to 1 December: the service pauses from 02:00 to 03:00 UTC. Clocks stand still meanwhile.",
    "В ночь на 1 декабря — работы: с 02:00 до 03:00 UTC сервис приостановлен. Часы токенов стоят.",  # noqa: RUF001 - words of one letter
)


def make(making: SampleActions, admin: User, alice: User) -> None:
    """Add actions of an admin, and results of the statistics and verification jobs."""
    boss, settings = Actor(admin.id, "192.0.2.10", LAPTOP), making.settings
    with making.past.ago(30) as session:
        user_profile.add_note(session, alice.id, text=f"Asked by phone for an invoice by post. {TO_TRY}", actor=boss)
        changed = {"limits.topup_max_znc": "50000", "maintenance.words_en": "Back at noon."}
        for key, value in changed.items():
            overrides.change(session, settings, key, value=value, reason="Agreed in the meeting", seen=0, actor=boss)
    with making.past.ago(2) as session:
        words_en, words_ru = _ANNOUNCEMENT
        made = announcements.create(session, level=Level.WARN, words_en=words_en, words_ru=words_ru, starts_at=None,
                                  ends_at=clock.now() + timedelta(days=30), actor=boss)  # fmt: skip
        making.shop.add("announcement_id", "shown", made.id)
    with making.past.sessions.begin() as session:
        verified = ledger_verification.verify(session)
    with making.past.ago(0.1) as session:
        daily_stats.update_days(session)
        ledger_verification.record_check(session, verified)


def report(redis: Redis, token_id: UUID) -> None:
    """Write the reports of workers and jobs to Redis."""
    moment = clock.now().timestamp()
    lines = [
        recent_requests.encode(moment - 47 * number**2, method, path, figures, code)
        for number, (method, path, figures, code) in enumerate(_REQUESTS)
    ]
    refused = [line for line, (*_, code) in zip(lines, _REQUESTS, strict=True) if code == "scope_denied"]
    redis.rpush(recent_requests.requests_key(token_id), *lines)
    redis.rpush(recent_requests.refusals_key(token_id), *refused)
    # Heartbeats a day ahead, so that the workers stay alive during the run.
    redis.hset(gateway_workers.GAUGES, mapping={str(number): f"{int(moment) + 86_400} 3" for number in range(2)})
    redis.hset(gateway_workers.TOTALS, mapping={f"refusals|{code}": number for code, number in _REFUSED.items()})
    checks = {
        part: health_report.Check(True, 0.004, f"{clock.now():%Y-%m-%dT%H:%M:%SZ}") for part in health_report.PARTS
    }
    redis.set(health_report.REPORT_KEY, health_report.as_json(checks))

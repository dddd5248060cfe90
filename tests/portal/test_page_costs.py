"""Every page needs at most twelve queries, each served by an index (docs/spec/invariants.md#30-large-lists)."""

import pytest
from flask import Flask
from sqlalchemy import Connection, text

from ops.dev.page_profiler.__main__ import MAX_QUERIES, NO_PAGES
from ops.dev.page_profiler.queries import full_scans, record_queries
from ops.dev.page_profiler.sample_urls import query_strings
from tests.portal.conftest import Browser
from tests.portal.test_routes import Shop, rules, shop

__all__ = ["shop"]  # the fixture

# Tables that grow with the shop. What is not here has one row for each outage, offer or setting.
GROWING = {
    "access_tokens",
    "accounts",
    "audit_entries",
    "logins",
    "outage_credits",
    "outbox_mails",
    "payment_events",
    "payments",
    "proxy_sessions",
    "token_events",
    "token_usage_days",
    "transfers",
    "users",
    "webhook_deliveries",
}


@pytest.mark.parametrize("role", ["buyer", "admin"])
def test_no_page_makes_more_than_twelve_queries_or_reads_a_whole_table(
    *, app: Flask, shop: Shop, as_alice: Browser, as_dana: Browser, connection: Connection, role: str
) -> None:
    browser = as_dana if role == "admin" else as_alice
    days = {"today": "2026-11-30", "year_ago": "2025-11-30"}
    known = {"user_id": str(shop.user.id), "token_id": str(shop.token_id), **days}
    wrong: list[str] = []
    for rule in rules(app, "GET"):
        if rule.endpoint.startswith(NO_PAGES) or rule.rule.startswith("/admin") != (role == "admin"):
            continue
        for query in query_strings(rule, known):
            page = f"{shop.path(rule)}?{query}"
            # What a process asks for every second or two falls to some page; here it falls to each.
            for kept in ("zenzefi-board", "zenzefi-runtime"):
                app.extensions[kept].forget()
            with record_queries() as found:
                assert browser.get(page).status_code < 400
            if len(found.queries) > MAX_QUERIES:
                wrong.append(f"{page} makes {len(found.queries)} queries")
            # The tables are tiny, so that the planner would read them from end to end whatever there is.
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            scans = full_scans(connection, found.queries, GROWING, are_small=True)
            wrong += [f"{page} reads all of {scan}" for scan in scans]
            connection.execute(text("SET LOCAL enable_seqscan = on"))
    assert wrong == []


def test_a_query_that_no_index_serves_is_found(connection: Connection) -> None:
    connection.execute(text("SET LOCAL enable_seqscan = off"))
    with record_queries() as found:
        connection.execute(text("SELECT id FROM transfers WHERE description = :words"), {"words": "x"})
        connection.execute(text("SELECT id FROM transfers WHERE idempotency_key = :key"), {"key": "x"})
    assert [scan.partition(":")[0] for scan in full_scans(connection, found.queries, GROWING, are_small=True)] == [
        "transfers"
    ]

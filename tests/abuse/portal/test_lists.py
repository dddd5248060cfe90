"""Lists of ten thousand rows are paged, searched and sorted in the database.

docs/spec/invariants.md#30-large-lists
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, event, inspect, text

from tests.portal.api.conftest import Program
from tests.portal.conftest import Browser
from tests.portal.test_routes import Shop, rules

ROWS = 10_000
# A page shows 25 rows, and may look at what belongs to each of them; the API gives 100 at most.
MOST_ROWS, MOST_BYTES = 130, 400_000
# One row of each is made into ten thousand; what must differ from row to row is written in SQL, by `n`.
MANY: dict[str, dict[str, str]] = {
    "users": {
        "email": "'many' || n || '@example.test'",
        "username": "'many' || n",
        "referral_code": "lpad(n::text, 12, '0')",
        "is_superuser": "false",
    },
    "access_tokens": {"secret_hash": "sha256(n::text::bytea)", "previous_hash": "NULL", "previous_until": "NULL"},
    "proxy_sessions": {"ended_at": "now()"},
    "payments": {"provider_payment_id": "'many' || n"},
    "payment_events": {"event_id": "'many' || n"},
    "transfers": {"idempotency_key": "'many' || n"},
    "audit_entries": {},
    "logins": {},
    "api_keys": {"secret_hash": "sha256(n::text::bytea)"},
    "outbox_mails": {"dedup_key": "'many' || n"},
    "webhook_deliveries": {"dedup_key": "'many' || n"},
    "gift_codes": {"code_hash": "sha256(n::text::bytea)"},
    "coupons": {"code": "'MANY' || n"},
    "bundles": {"name": "'many' || n"},
    "announcements": {"starts_at": "now() - interval '2 days'", "ends_at": "now() - interval '1 day'"},
    "setting_changes": {},
    "token_events": {},
    "user_notes": {},
    "outages": {"closed_at": "now()", "last_failed_at": "now()"},
}

WALLETS = """
    INSERT INTO accounts
    SELECT (jsonb_populate_record(NULL::accounts, to_jsonb(one) || jsonb_build_object(
        'id', gen_random_uuid(), 'user_id', users.id))).*
    FROM users, (SELECT * FROM accounts WHERE user_id IS NOT NULL LIMIT 1) AS one WHERE username LIKE 'many%'
"""


def multiply(connection: Connection, table: str, facts: dict[str, str]) -> None:
    """Copy a table's newest row ten thousand times."""
    columns = [
        column["name"]
        for column in inspect(connection).get_columns(table)
        if not column.get("identity") and not column.get("computed")
    ]
    facts = {"id": "gen_random_uuid()", **facts}
    values = ", ".join(facts.get(name, f'one."{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    one = f'(SELECT * FROM "{table}" ORDER BY ctid DESC LIMIT 1) AS one'
    connection.execute(
        text(f'INSERT INTO "{table}" ({names}) SELECT {values} FROM {one}, generate_series(1, {ROWS}) AS n')
    )


@contextmanager
def rows_fetched() -> Iterator[dict[str, int]]:
    """Record how many rows the database returned for each statement."""
    fetched: dict[str, int] = {}

    def note(*call: Any) -> None:
        cursor, statement = call[1], call[2]
        fetched[statement] = max(cursor.rowcount, fetched.get(statement, 0))

    event.listen(Engine, "after_cursor_execute", note)
    try:
        yield fetched
    finally:
        event.remove(Engine, "after_cursor_execute", note)


@pytest.fixture
def full(shop: Shop, connection: Connection) -> Shop:
    """A database with ten thousand rows of everything, nearly all of it alice's."""
    for table, facts in MANY.items():
        multiply(connection, table, facts)
    # Everybody has one wallet.
    connection.execute(text(WALLETS))
    connection.execute(text("ANALYZE"))
    return shop


def test_30_lists_of_ten_thousand_rows_are_paged_searched_and_sorted_in_the_database(
    *, app: Flask, full: Shop, as_alice: Browser, as_dana: Browser, danas: Program, alices: Program
) -> None:
    ways: tuple[dict[str, str], ...] = ({}, {"page": "300", "q": "many", "owner": "many", "sort": "name"})
    wrong: list[str] = []
    for rule in rules(app, "GET"):
        if rule.endpoint.startswith(("docs.", "static", "links.", "development.")):
            continue
        browser = as_dana if rule.rule.startswith("/admin") else as_alice
        for query in ways:
            with rows_fetched() as fetched:
                answer = browser.get(full.path(rule), query_string=query)
                size = len(answer.data)
            assert (rule.rule, query, answer.status_code < 400) == (rule.rule, query, True)
            if answer.mimetype == "text/html":
                many = [statement for statement, rows in fetched.items() if rows > MOST_ROWS]
                wrong += [f"{rule.rule} {query} fetches many rows: {' '.join(one.split())}" for one in many]
                wrong += [f"{rule.rule} {query} is {size} bytes long"] if size > MOST_BYTES else []
    for program in (alices, danas):
        for path, query in api_lists(app):
            with rows_fetched() as fetched:
                answer = program.get(path, **query)
            if answer.status_code == 200 and answer.json is not None:
                items = answer.json if isinstance(answer.json, list) else answer.json.get("items", [])
                wrong += [f"{path} sends {len(items)} items"] if len(items) > 100 else []
                many = [statement for statement, rows in fetched.items() if rows > MOST_ROWS]
                wrong += [f"{path} fetches many rows: {' '.join(one.split())}" for one in many]
    assert "\n".join(wrong) == ""


def api_lists(app: Flask) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the API's lists, each with the largest page."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("api_") and "GET" in (rule.methods or ()) and not rule.arguments:
            path = rule.rule.removeprefix("/api/v1")
            yield path, {"limit": 100} if rule.endpoint != "api_tokens.my_tokens" else {}


@pytest.mark.parametrize("asked", [{"limit": "101"}, {"limit": "0"}, {"limit": "1e9"}, {"offset": "-1"}])
def test_30_a_list_of_the_api_returns_at_most_a_hundred_items(danas: Program, asked: dict[str, str]) -> None:
    for path in ("/admin/users", "/admin/tokens", "/admin/audit-logs", "/currency/transactions"):
        assert (path, danas.get(path, **asked).status_code) == (path, 422)

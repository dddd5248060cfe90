"""`./zenzefi pages`: profile every page and GET endpoint, as the user with most data and as an admin.

For each page: the time in this process (p50 and p95, without network), the number of queries, and queries that scan a
whole big table. Pages beyond a limit are listed, and the exit code is 1. `./zenzefi seed` creates a suitable database.
"""

import argparse
import statistics
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from models import database
from ops.console import Failure, print_error, print_line
from ops.dev.page_profiler import sample_urls
from ops.dev.page_profiler.queries import Query, big_tables, full_scans, record_queries
from ops.launcher.installation import DATA, connected_installation
from portal import create_app

MAX_QUERIES = 12
MAX_SECONDS = 0.1
BIG_ROWS = 10_000
# Not pages: static files and endpoints for programs.
NO_PAGES = ("static", "pages.favicon", "pages.robots", "health.", "mock_checkout.", "docs.", "api_play.")
FOR_ADMINS = ("/admin", "/api/v1/admin", "/api/v1/analytics/admin")
# Files are streamed; they are measured and may take longer than a page.
FILES = ("/csv", "/pdf", ".csv")
FILE_TIMES = 3


@dataclass(frozen=True, slots=True)
class Page:
    """Cost of one page; times in seconds."""

    rule: str
    role: str
    status: int
    p50: float
    p95: float
    queries: int
    scans: list[str]

    @property
    def faults(self) -> list[str]:
        """Every exceeded limit."""
        found = [f"reads all of {scan}" for scan in self.scans]
        if self.p95 > MAX_SECONDS and not is_file(self.rule):
            found.append(f"takes {self.p95 * 1000:.0f} ms")
        if self.queries > MAX_QUERIES:
            found.append(f"makes {self.queries} queries")
        return [*found, f"answers {self.status}"] if self.status >= 400 else found


def is_file(name: str) -> bool:
    """Return whether this is the URL of a file."""
    return name.partition("?")[0].endswith(FILES)


def main(arguments: Sequence[str]) -> int:
    """Measure and report; returns 1 when a page exceeds a limit."""
    options = _parse(arguments)
    try:
        with connected_installation(options.data) as settings:
            # The profiler exceeds the limit of the API.
            limits = settings.limits.model_copy(update={"api_per_minute": 1_000_000})
            app = create_app(settings.model_copy(update={"limits": limits}))
            pages = list(_walk(app, database.connect(settings.database), options.times, options.only))
    except Failure as failure:
        print_error(str(failure))
        return 1
    print_line("| Page | As | p50, ms | p95, ms | Queries |\n|---|---|---:|---:|---:|")
    for page in pages:
        print_line(f"| `{page.rule}` | {page.role} | {page.p50 * 1000:.0f} | {page.p95 * 1000:.0f} | {page.queries} |")
    faulty = [page for page in pages if page.faults]
    for page in faulty:
        print_line("\n" + "\n  ".join([f"{page.rule} ({page.role}):", *page.faults]))
    print_line(f"\n{len(pages)} pages, {len(faulty)} beyond a limit.")
    return 1 if faulty else 0


def _walk(app: Flask, engine: Engine, times: int, only: str) -> Iterator[Page]:
    with engine.connect() as connection:
        buyer, admin = sample_urls.ids(connection)
        known = sample_urls.values(connection, buyer)
        big = big_tables(connection, BIG_ROWS)
    with database.sessions(engine).begin() as session:
        known |= sample_urls.signed_values(session, buyer, app.extensions["zenzefi"])
    clients = {"buyer": _client(app, engine, buyer), "admin": _client(app, engine, admin)}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if "GET" not in (rule.methods or ()) or rule.endpoint.startswith(NO_PAGES) or only not in rule.rule:
            continue
        address = sample_urls.build_url(rule, known)
        if address is None:
            print_error(
                f"{rule.rule}: skipped, ops/dev/page_profiler/sample_urls.py has no {', '.join(sorted(rule.arguments))}"
            )
            continue
        role = "admin" if rule.rule.startswith(FOR_ADMINS) else "buyer"
        for query in sample_urls.query_strings(rule, known):
            name, whole = (f"{part}?{query}" if query else part for part in (rule.rule, address))
            page, asked = _measured(clients[role], name, role, whole, times)
            with engine.connect() as connection:
                yield replace(page, scans=full_scans(connection, asked, big))


def _measured(client: FlaskClient, name: str, role: str, address: str, times: int) -> tuple[Page, list[Query]]:
    """Fetch a page several times; returns its cost, and the queries of the first time."""
    with record_queries() as found:
        status = client.get(address).status_code
    took = []
    for _ in range(min(times, FILE_TIMES) if is_file(name) else times):
        begun = time.perf_counter()
        _ = client.get(address).data
        took.append(time.perf_counter() - begun)
    p95 = statistics.quantiles(took, n=20, method="inclusive")[-1]
    page = Page(name, role, status, statistics.median(took), p95, len(found.queries), [])
    return page, found.queries


def _client(app: Flask, engine: Engine, user_id: uuid.UUID) -> FlaskClient:
    """Return a test client that is logged in to the pages and to the API."""
    with database.sessions(engine).begin() as session:
        login, token = sample_urls.open_logins(session, user_id, app.extensions["zenzefi"])
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    with client.session_transaction() as cookie:
        cookie.update({"_user_id": login, "_fresh": True, "seen": sample_urls.seen_now()})
    return client


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./zenzefi pages", description=__doc__)
    parser.add_argument("--times", type=int, default=20, choices=range(2, 1001), metavar="N", help="requests per page")
    parser.add_argument("--only", default="", help="only pages whose URL contains this")
    parser.add_argument("--data", type=Path, default=DATA, help="the data folder of the installation")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

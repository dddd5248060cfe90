"""The buyers of `./zenzefi load` do on the real pages what a browser does; only Locust itself is left out here."""

import argparse
import ast
import csv
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.payments import Payment
from models.users import User
from ops.bootstrap import REPOSITORY
from ops.dev.load import journeys, summary
from ops.dev.load.html_forms import form_of, links_of
from ops.dev.load.journeys import Buyer
from ops.dev.load.platform import LocustUsage
from tests.conftest import PASSWORD
from tests.portal.conftest import Jobs

LOCUSTFILE = REPOSITORY / "ops" / "dev" / "load" / "locustfile.py"


@dataclass
class Answer:
    status: int
    text: str
    url: str


@dataclass
class Browser:
    """What Locust's client is to a journey, on the app itself."""

    client: FlaskClient
    names: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def get(self, path: str, *, name: str) -> Answer:
        return self._ask(name, "GET", path, {})

    def post(self, path: str, fields: dict[str, str], *, name: str) -> Answer:
        return self._ask(name, "POST", path, fields)

    def fail(self, name: str, reason: str) -> None:
        self.failures.append(f"{name}: {reason}")

    def _ask(self, name: str, method: str, path: str, fields: dict[str, str]) -> Answer:
        self.names.append(name)
        answer = self.client.open(path, method=method, data=fields, follow_redirects=True)
        assert answer.status_code < 400, (name, answer.status_code)
        return Answer(answer.status_code, answer.text, answer.request.path)


def test_a_buyer_of_the_load_test_goes_through_the_shop(
    app: Flask, session: Session, alice: User, queued: Jobs
) -> None:
    browser = Browser(app.test_client())
    buyer = Buyer(browser, alice.email, PASSWORD)
    buyer.look_at_a_token()  # without a login the pages lead to the login, and nothing breaks
    buyer.log_in()
    assert "/dashboard" in browser.get("/", name="").text
    buyer.buy()
    buyer.look_at_a_token()
    buyer.top_up()
    buyer.revoke()
    for _ in range(60):
        buyer.look_around()
    assert browser.failures == []
    assert set(journeys.PAGES) <= set(browser.names)
    token = session.scalars(select(AccessToken)).one()
    assert token.revoked_at is not None
    assert session.scalar(select(func.count()).select_from(Payment)) == 1
    assert any("deliver_mock_callback" in job[0] for job in queued)


def test_a_page_without_its_form_is_a_failure_and_no_crash(app: Flask, alice: User) -> None:
    browser = Browser(app.test_client())
    Buyer(browser, alice.email, PASSWORD).buy()
    assert browser.failures == ["/tokens/buy: the page has no form that leads to …/tokens/buy"]


def test_a_form_is_read_as_a_browser_sends_it() -> None:
    page = """<a href="/tokens/1"></a><a href="/tokens/1">again</a><form action="/a"><input name="text" value="x">
        <input type="radio" name="hours" value="1"><input type="radio" name="hours" value="24" checked>
        <input type="checkbox" name="off"><input type="checkbox" name="on" checked><input type="submit">
        <select name="first"><option value="1"><option value="2"></select>
        <select name="chosen"><option value="1"><option value="2" selected></select></form><form action="/b"></form>"""
    fields = {"text": "x", "hours": "24", "on": "on", "first": "1", "chosen": "2"}
    assert form_of(page, "/a").fields == fields
    assert form_of(page, "/b").fields == {}
    assert links_of(page, "/tokens/") == ["/tokens/1"]
    with pytest.raises(LookupError):
        form_of(page, "/c")


def test_every_task_of_locust_is_one_of_the_journeys_and_its_addresses_exist(app: Flask) -> None:
    tree = ast.parse(LOCUSTFILE.read_text(encoding="utf-8"))
    asked = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "self.buyer"
    }
    assert asked == {name for name in vars(Buyer) if not name.startswith("_")}
    known = {str(rule) for rule in app.url_map.iter_rules()}
    named = {
        node.value
        for node in ast.walk(ast.parse(Path(journeys.__file__).read_text()))
        if isinstance(node, ast.Constant)
    }
    paths = {
        value for value in named if isinstance(value, str) and value.startswith("/") and value.strip("/").isascii()
    }
    api = {path for path in re.findall(r'"(/api/v1/[^"]+)"', LOCUSTFILE.read_text()) if "/proxy/" not in path}
    assert api <= known
    assert {path for path in paths if "[" not in path and not path.endswith("/")} <= known | {"/revoke"}


def test_the_summary_says_whether_the_targets_were_met(tmp_path: Path) -> None:
    row = {"Type": "GET", "Name": "proxy /certificates/filter", "Requests/s": "998.5", "Request Count": "9985"}
    row |= {"Failure Count": "0", "50%": "4", "95%": "210", "99%": "300", "Max Response Time": "512.3"}
    with (tmp_path / "load_stats.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    options = argparse.Namespace(seconds=10, clients=64, rate=1000, workers=2, buyers=0)
    written = summary.text(tmp_path, options, LocustUsage(0, 10.0, 0.9, 1.5))
    assert "| proxy /certificates/filter | 998.5 | 4 | 210 | 300 | 512.3 | 9,985 | 0 |" in written
    assert "The proxy answered 998 requests a second (target 1,000): met." in written
    assert "p95 210 ms (target below 200 ms): MISSED." in written
    assert "it was the bottleneck" in written


@pytest.mark.skipif(not os.environ.get("ZENZEFI_SOAK"), reason="installs Locust and starts a platform; --soak runs it")
def test_locust_really_runs_for_five_seconds(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "zenzefi"), "load", "--seconds", "5", "--rate", "50", "--clients", "5"]
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("ZENZEFI_", "DATABASE", "REDIS"))
    }
    done = subprocess.run(
        [*command, "--buyers", "2", "--out", str(tmp_path)],
        env=clean,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "proxy /certificates/filter" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "report.html").stat().st_size > 10_000

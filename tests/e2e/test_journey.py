"""The main use of the platform: register, pay, buy, download through the proxy, be refunded."""

import hashlib
import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from redis import Redis
from rq import Queue

from jobs import queues
from models.metrics.catalogue import METRICS
from ops.launcher.installation import connected_installation
from tests.e2e.conftest import BIG_FILE_BYTES, ROOT, Shop, clean_environment
from tests.e2e.inspection_steps import Watch, until_nothing, watching
from tests.e2e.steps import (
    PASSWORD,
    ask,
    balance,
    buy,
    curl,
    log_in,
    log_out,
    register_and_log_in,
    resident_kib,
    top_up,
    wait_for_status,
)

# What stays at nothing as long as nothing goes wrong, without TLS, and while nobody watches; and who moves it instead.
STILL = {
    "proxy_access_log_dropped": "tests/addon/recording/test_access_log.py",
    "proxy_trail_dropped": "tests/addon/recording/test_recent_requests.py",
    "proxy_flows_sent": "tests/addon/inspection/test_capture.py",
    "proxy_flows_dropped": "tests/addon/inspection/test_capture.py",
    "certificate_expires_timestamp_seconds": "tests/addon/recording/test_metrics.py",
    "portal_http_request_exceptions": "tests/portal/status/test_metrics.py",
    "payments_to_review": "tests/portal/status/test_metrics.py",
    "backlog_given_up": "tests/portal/status/test_metrics.py",
}


@pytest.fixture(scope="module", autouse=True)
def watch(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """Prometheus scrapes the platform during all tests of this module."""
    with watching(shop, tmp_path_factory.mktemp("prometheus")) as watch:
        yield watch


def session_figures(page: Page) -> tuple[int, int, int]:
    """Read requests, bytes in and bytes out of the newest session on a token's page."""
    requests = page.get_by_test_id("request-count").first.get_attribute("data-count")
    sent = page.get_by_test_id("bytes-in").first.locator("[data-bytes]").get_attribute("data-bytes")
    received = page.get_by_test_id("bytes-out").first.locator("[data-bytes]").get_attribute("data-bytes")
    return int(requests or -1), int(sent or -1), int(received or -1)


def test_a_buyer_registers_pays_buys_downloads_and_is_refunded(
    page: Page, shop: Shop, big_file: Path, tmp_path: Path
) -> None:
    register_and_log_in(page, shop, "journey")
    assert balance(page, shop) == 0
    top_up(page, shop, "50")
    assert balance(page, shop) == 50

    bought = buy(page, shop, hours=24, name="laptop")
    assert re.fullmatch(r"[A-Za-z0-9_-]{64}", bought.secret)
    assert balance(page, shop) == 32
    page.goto(f"{shop.portal}/tokens")
    expect(page.locator("main")).to_contain_text("laptop")
    expect(page.locator("main")).to_contain_text(bought.secret[:8])
    assert bought.secret not in page.content()

    # The read-only status never starts the clock.
    status, body = ask(shop, "/api/v1/proxy/status", bought.secret)
    assert (status, json.loads(body)["status"]) == (200, "ready")

    # The curl that the page shows works as it is pasted.
    pasted = subprocess.run(shlex.split(bought.curl), capture_output=True, check=False, timeout=30)
    assert pasted.returncode == 0, pasted.stderr
    status, body = ask(shop, "/api/v1/proxy/status", bought.secret)
    assert (status, json.loads(body)["status"]) == (200, "active")

    # Two real clients fetch 200 MB: the bytes are those of the upstream, the worker's memory stays flat.
    wanted = hashlib.sha256(big_file.read_bytes()).hexdigest()
    [worker] = shop.worker_pids()
    before = resident_kib(worker)
    status, _ = ask(shop, "/files/big.bin", bought.secret, "-o", str(tmp_path / "curl.bin"))
    assert status == 200
    subprocess.run(
        ["wget", "-q", "-O", tmp_path / "wget.bin", f"--header=X-Access-Token: {bought.secret}",
         f"{shop.proxy}/files/big.bin"],
        check=True,
        timeout=60,
    )  # fmt: skip
    after = resident_kib(worker)
    for name in ("curl.bin", "wget.bin"):
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == wanted
    assert after - before < 32 * 1024, f"{before} KiB before, {after} KiB after"

    # An upload is counted too, and arrives as it was sent.
    payload = tmp_path / "upload.bin"
    payload.write_bytes(big_file.read_bytes()[:5_000_000])
    status, body = ask(shop, "/echo", bought.secret, "--data-binary", f"@{payload}")
    echoed = json.loads(body)
    assert (status, echoed["body_length"]) == (200, 5_000_000)
    assert echoed["body_sha256"] == hashlib.sha256(payload.read_bytes()).hexdigest()
    assert bought.secret not in body.decode()

    # The portal shows the session with the exact figures.
    first = len(pasted.stdout)
    sent_back = first + 2 * BIG_FILE_BYTES + len(body)
    deadline = time.monotonic() + 10
    while True:
        page.goto(bought.url)
        shown = session_figures(page)
        if shown == (4, 5_000_000, sent_back):
            break
        assert time.monotonic() < deadline, shown
        time.sleep(0.3)

    # Revoke: the refund is shown before, paid as shown or less by the seconds that passed, and obeyed at once.
    page.goto(f"{bought.url}/revoke")
    offered = Decimal(page.get_by_test_id("refund").first.get_attribute("data-amount") or "NaN")
    assert Decimal("17.90") <= offered < 18
    page.click("main form button")
    page.wait_for_url(re.compile(r"/tokens/[0-9a-f-]{36}$"))
    assert wait_for_status(shop, bought.secret, 401, seconds=2) < 1
    returned = balance(page, shop) - 32
    assert offered - Decimal("0.01") <= returned <= offered


def test_a_restricted_token_reaches_its_scope_and_nothing_else(page: Page, shop: Shop) -> None:
    register_and_log_in(page, shop, "scoped")
    top_up(page, shop, "10")
    bought = buy(page, shop, hours=1, scope="certificates_only")
    # A refusal never starts the clock.
    status, body = ask(shop, "/users/currentUser", bought.secret)
    assert (status, json.loads(body)["code"]) == (403, "scope_denied")
    status, body = ask(shop, "/_zenzefi/status", bought.secret)
    assert json.loads(body)["status"] == "ready"
    assert ask(shop, "/certificates/filter", bought.secret)[0] == 200
    assert ask(shop, "/api/v1/proxy/certificates/filter?a=1", bought.secret)[0] == 200
    status, _ = ask(shop, "/certificates/filter/../../users/currentUser", bought.secret, "--path-as-is")
    assert status == 400


def test_no_request_passes_without_a_valid_token(shop: Shop) -> None:
    for secret, code in ((None, "token_missing"), ("x" * 64, "token_invalid"), ("", "token_missing")):
        status, body = ask(shop, "/certificates/filter", secret)
        assert (status, json.loads(body)["code"]) == (401, code)
    assert ask(shop, "/health", None)[0] == 200


def test_a_canceled_payment_credits_nothing(page: Page, shop: Shop) -> None:
    register_and_log_in(page, shop, "canceler")
    top_up(page, shop, "20", outcome="cancel")
    assert balance(page, shop) == 0


def test_the_demo_token_works_as_printed(shop: Shop) -> None:
    printed = re.search(r"^\s*(curl .*)$", shop.output.read_text(), re.MULTILINE)
    assert printed, shop.output.read_text()
    done = subprocess.run(["sh", "-c", printed[1]], capture_output=True, check=False, timeout=30)
    assert done.returncode == 0
    assert len(done.stdout) > 0
    assert ask(shop, "/certificates/filter", shop.ready["demo_token"])[0] == 200


def test_an_admin_sees_everything_and_adjusts_a_balance_with_a_reason(page: Page, shop: Shop) -> None:
    email = register_and_log_in(page, shop, "customer")
    top_up(page, shop, "5")
    bought = buy(page, shop, hours=1, name="to be seen")
    assert ask(shop, "/users/currentUser", bought.secret)[0] == 200
    log_out(page)

    log_in(page, shop, shop.ready["admin_email"], shop.ready["admin_password"])
    page.goto(f"{shop.portal}/admin/users")
    expect(page.locator("main")).to_contain_text("customer")
    page.goto(f"{shop.portal}/admin/tokens")
    expect(page.locator("main")).to_contain_text("to be seen")
    page.goto(f"{shop.portal}/admin/sessions")
    expect(page.locator("main")).to_contain_text("127.0.0.1")
    page.goto(f"{shop.portal}/admin/users")
    page.click(f"main a.row-link:has-text('{email}')")
    page.wait_for_url(re.compile(r"/admin/users/[0-9a-f-]{36}"))
    page.fill("form[action$='/adjust'] input[name=amount]", "7.50")
    page.fill("form[action$='/adjust'] [name=reason]", "goodwill")
    page.click("form[action$='/adjust'] button")
    expect(page.locator("main")).to_contain_text("goodwill")
    page.goto(f"{shop.portal}/admin/audit")
    expect(page.locator("main")).to_contain_text("Balance adjusted")
    log_out(page)

    log_in(page, shop, email, PASSWORD)
    assert balance(page, shop) == Decimal("11.50")


def test_every_declared_metric_changes(shop: Shop, watch: Watch) -> None:
    # A client that takes its time, and leaves before it has all.
    leaving = ["curl", "-s", "-o", "/dev/null", "--limit-rate", "1M", "--max-time", "2"]
    token = f"X-Access-Token: {shop.ready['demo_token']}"
    subprocess.run([*leaving, "-H", token, f"{shop.proxy}/files/big.bin"], check=False)
    with (
        connected_installation(shop.data / "state", environ=clean_environment()) as settings,
        Redis.from_url(settings.redis.url) as redis,
    ):
        Queue(queues.SLOW_QUEUE, connection=redis).enqueue("jobs.cleanup.verify_ledger")
        Queue(queues.SLOW_QUEUE, connection=redis).enqueue("jobs.audit.verify")
        Queue(queues.QUEUE, connection=redis).enqueue("jobs.payments.settle", "no id at all")
    backup = [ROOT / "zenzefi", "backup", "--data", shop.data / "state", "--out", shop.data / "backups"]
    subprocess.run(backup, check=True, capture_output=True, env=clean_environment())
    until_nothing(lambda: [] if watch.values("max(jobs_failed) > 0") else ["a job that failed"])
    # A user registers and starts a payment while no job runs.
    with shop.suspended_jobs():
        # Redis hands the first job to the suspended worker, which waits for one; only the next one stays in the queue.
        with (
            connected_installation(shop.data / "state", environ=clean_environment()) as settings,
            Redis.from_url(settings.redis.url) as redis,
        ):
            for _ in range(2):
                Queue(queues.QUEUE, connection=redis).enqueue("jobs.payments.expire_pending")
        somebody = {"email": "late@example.test", "username": "late", "password": PASSWORD}
        assert post(shop, "/auth/register", somebody)[0] == 201
        _, login = post(shop, "/auth/login", somebody)
        payment = {"amount_znc": "5", "return_url": f"{shop.portal}/wallet"}
        assert post(shop, "/currency/purchase", payment, login["access_token"])[0] == 201
        until_nothing(lambda: unmoved(shop, watch))


def unmoved(shop: Shop, watch: Watch) -> list[str]:
    """Return the metrics that have not changed yet, after a request that makes the gauges change."""
    assert ask(shop, "/certificates/filter", shop.ready["demo_token"])[0] == 200
    return [
        f"{side}: {metric.name}"
        for side, metrics in METRICS.items()
        for metric in metrics
        if metric.name not in STILL and not watch.has_moved(metric, side)
    ]


def post(shop: Shop, path: str, body: dict[str, str], token: str = "") -> tuple[int, dict[str, str]]:
    """Call the API."""
    headers = ["-H", "Content-Type: application/json", *(("-H", f"Authorization: Bearer {token}") if token else ())]
    status, answer = curl(*headers, "-d", json.dumps(body), f"{shop.portal}/api/v1{path}")
    return status, json.loads(answer)


def test_every_rule_and_every_panel_works_in_a_real_prometheus(watch: Watch) -> None:
    assert {target["health"] for target in watch.ask("targets")["activeTargets"]} == {"up"}
    rules = [rule for group in watch.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    empty, asked = set(), 0
    for path in sorted((ROOT / "ops" / "monitoring" / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                query = re.sub(r"\$(task|hours|code)\b", ".+", target["expr"].replace("$__rate_interval", "1m"))
                span = {"start": time.time() - 30, "end": time.time(), "step": 5}
                answer = (
                    watch.ask("query_range", query=query, **span)
                    if target["range"]
                    else watch.ask("query", query=query)
                )
                asked += 1
                if not answer["result"]:
                    empty.add(query)
    assert asked > 60
    assert {query for query in empty if not any(name in query for name in (*STILL, "ALERTS"))} == set()

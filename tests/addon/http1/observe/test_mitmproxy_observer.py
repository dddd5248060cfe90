"""Other addons receive redacted copies of flows and cannot change an exchange."""

import time

from tests.addon.http1.processes import LIMITS, Upstream, Worker, get, serve_everything, upload, wait_until
from tests.addon.http1.replies import status

SECRETS = b"Authorization: Bearer hush\r\nCookie: session=hush\r\nReferer: http://a/?ticket=hush&x=1\r\n"
OURS = {"/_zenzefi/seen", "/_zenzefi/counted"}


def test_an_observer_sees_redacted_flows_and_changes_nothing():
    worker = Worker(Upstream(serve_everything).address, LIMITS, watch=True)

    def seen() -> list[list[object]]:
        # Each of our questions is an exchange itself.
        return [flow for flow in worker.local("/_zenzefi/seen") if flow[0] not in OURS]

    wait_until(lambda: worker.local("/_zenzefi/counted")[4] == 1)
    body = b'{"password": "hush", "name": "alice"}'
    request = upload("/form?token=hush&page=two", len(body), SECRETS + b"Connection: close\r\n") + body
    reply = worker.ask(request)
    assert status(reply) == 200
    assert b"X-Changed" not in reply
    assert b"Authorization: Bearer hush" in reply
    assert status(worker.ask(get("/_zenzefi/nothing"))) == 404
    wait_until(lambda: len(seen()) == 2)
    first, second = seen()
    assert (first[3], second[3]) == (201, 405)
    assert "hush" not in str(first[:3])
    assert first[0] == "/form?token=[redacted]&page=two"
    assert first[2] == '{"password": "[redacted]", "name": "alice"}'
    assert first[1]["Host"] == "a"
    assert worker.stop()[0] == 0


def test_nothing_is_recorded_without_observers():
    worker = Worker(Upstream(serve_everything).address, LIMITS)
    time.sleep(0.4)
    assert status(worker.ask(get("/"))) == 200
    assert worker.local("/_zenzefi/counted")[4] == 0
    assert worker.stop()[0] == 0

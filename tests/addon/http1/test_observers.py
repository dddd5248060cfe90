"""Other addons see redacted copies of flows, and change nothing."""

import time

from tests.addon.http1.processes import LIMITS, Upstream, Worker, get, serve_everything, upload
from tests.addon.http1.replies import status

SECRETS = b"Authorization: Bearer hush\r\nCookie: session=hush\r\nReferer: http://a/?ticket=hush&x=1\r\n"


def test_an_observer_sees_redacted_flows_and_changes_nothing():
    worker = Worker(Upstream(serve_everything).address, LIMITS, watch=True)
    time.sleep(0.4)
    body = b'{"password": "hush", "name": "alice"}'
    request = upload("/form?token=hush&page=two", len(body), SECRETS + b"Connection: close\r\n") + body
    reply = worker.ask(request)
    assert status(reply) == 200
    assert b"X-Changed" not in reply
    assert b"Authorization: Bearer hush" in reply
    assert status(worker.ask(get("/_zenzefi/nothing"))) == 404
    time.sleep(0.2)
    seen = worker.local("/_zenzefi/seen")
    assert [flow[3] for flow in seen] == [201, 405]
    assert "hush" not in str(seen[0][:3])
    assert seen[0][0] == "/form?token=[redacted]&page=two"
    assert seen[0][2] == '{"password": "[redacted]", "name": "alice"}'
    assert seen[0][1]["Host"] == "a"
    assert worker.stop()[0] == 0


def test_nothing_is_recorded_when_nobody_looks():
    worker = Worker(Upstream(serve_everything).address, LIMITS)
    time.sleep(0.4)
    assert status(worker.ask(get("/"))) == 200
    assert worker.local("/_zenzefi/seen") == []
    assert worker.stop()[0] == 0

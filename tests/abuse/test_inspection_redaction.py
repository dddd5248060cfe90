"""No secret in inspected flows, wherever it appears in an exchange.

docs/spec/invariants.md#29-secrets-at-rest-and-in-logs
"""

import base64
import gzip
import io
import json
import time
from typing import Any

from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader
from redis import Redis

from models.config.settings import Settings
from models.inspections import InspectionTarget
from models.services.actor import Actor
from models.services.gateway import inspections
from models.services.gateway.workers import FLOWS
from tests.abuse.test_browser_access import press, proxy, ticket_and_token
from tests.addon.conftest import upstream
from tests.addon.processes import Proxy
from tests.addon.test_worker import wait_for
from tests.factories import person

__all__ = ["proxy", "upstream"]  # the fixtures

type Committed = tuple[Settings, Any]

PASSWORD = "correct-horse-battery"
THEIRS = "Basic " + base64.b64encode(b"someone:correct-horse-battery").decode()
FORM = "application/x-www-form-urlencoded"


def show_everything(committed: Committed) -> None:
    """Start an inspection of all traffic, and wait until the workers have started it."""
    settings, factory = committed
    dana = person(factory, "dana", is_superuser=True)
    with factory.begin() as session:
        facts: dict[str, Any] = {"minutes": 15, "reason": "for a test", "rules": settings.inspection}
        inspections.start(session, target=InspectionTarget.EVERYTHING, name="", actor=Actor(dana.id), **facts)
    time.sleep(1)


def test_29_no_secret_is_in_inspected_flows(proxy: Proxy, committed: Committed, redis: Redis) -> None:
    proxy.start_worker()
    ticket, token = ticket_and_token(committed)
    show_everything(committed)
    cookie = press(proxy, ticket).headers["Set-Cookie"].partition(";")[0]
    secret = cookie.partition("=")[2]
    escaped = "".join(f"%{ord(letter):02x}" for letter in token)
    basic = base64.b64encode(f"x:{token}".encode()).decode()
    body = json.dumps({"user": "seen", "password": PASSWORD, "nested": [{"name": "token", "value": PASSWORD}]}).encode()
    more: dict[str, str] = {"Authorization": THEIRS, "Cookie": f"zenzefi={PASSWORD}; theirs={PASSWORD}"}
    replies = [
        proxy.get("/echo", Authorization=f"Bearer {token}"),
        proxy.get("/echo", Authorization=f"Basic {basic}"),
        proxy.get(f"/echo?next={token}&password={PASSWORD}", token, **more),
        proxy.get(f"/users/{token}/x", token),
        proxy.get(f"/users/{escaped}/x?q={escaped}", token),
        proxy.get(f"/api/v1/proxy/echo?a={escaped.replace('%', '%25')}", token, Referer=f"http://a/?ticket={PASSWORD}"),
        proxy.request("POST", "/echo", token, body=body, headers={"Content-Type": "application/json"}),
        proxy.request("POST", "/echo", token, body=f"a=1&pin_code={PASSWORD}".encode(), headers={"Content-Type": FORM}),
        proxy.request("POST", "/echo", token, body=gzip.compress(body), headers={"Content-Encoding": "gzip"}),
        # Cut off in the middle of the token: what is left of it is no use to anybody, and is not shown all the same.
        proxy.request("POST", "/echo", token, body=b"x " * 4_080 + token.encode() * 9, headers={}),
        # From here on the cookie's own device holds the token.
        proxy.get("/echo", Cookie=cookie),
        proxy.get("/echo", token[:-1] + "x"),
        proxy.get(f"/_zenzefi/enter?ticket={ticket}"),
    ]
    # 400: a token that is escaped in the path cannot be masked there without changing what the upstream reads.
    assert {reply.status for reply in replies} == {200, 400, 401, 404, 410}
    # The login endpoint with its ticket, and one for each of the above.
    wait_for(lambda: redis.xlen(FLOWS), 1 + len(replies), seconds=10)
    entries: Any = redis.xrange(FLOWS)
    raw = b"".join(fields[b"flow"] for _, fields in entries)
    for hidden in (ticket, token, secret, PASSWORD, escaped, basic, THEIRS.partition(" ")[2]):
        assert hidden.encode() not in raw
        assert hidden[8:40].encode() not in raw
    # And what is no secret is there to be seen.
    flows: list[HTTPFlow] = [
        flow
        for _, fields in entries
        for flow in FlowReader(io.BytesIO(fields[b"flow"])).stream()  # type: ignore[misc]
    ]
    assert [flow.request.path for flow in flows][1:3] == ["/echo"] * 2
    assert b'"user": "seen"' in raw
    assert flows[3].request.path == "/echo?next=masked&password=[redacted]"

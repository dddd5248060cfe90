"""A rotated secret and an ended session on two real workers.

docs/spec/invariants.md#12-revocation-within-a-second
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
from sqlalchemy import select

from models.proxy_sessions import ProxySession
from models.services.actor import PLATFORM
from models.services.tokens import browser_access, rotation
from portal import create_app
from portal.request import context
from tests.abuse.test_admission import Scene, scene, stage
from tests.factories import person
from tests.portal.conftest import Browser

__all__ = ["scene", "stage"]  # the fixtures: two workers on one port, and a buyer for each test

TRIES = 12


def rotate(scene: Scene, *, grace: int) -> str:
    keys = scene.settings.tokens.model_copy(update={"rotate_grace_seconds": grace})
    settings = scene.settings.model_copy(update={"tokens": keys})
    with scene.factory.begin() as session:
        token_id = scene.owned.token.id
        return rotation.rotate(session, scene.owned.user, token_id, settings=settings, actor=PLATFORM)[1]


def answers(scene: Scene, secret: str) -> set[int]:
    """Send requests on enough connections to reach each worker."""
    return {scene.proxy.get("/", secret).status for _ in range(TRIES)}


def open_until(scene: Scene, secret: str) -> float:
    """Send requests until every worker rejects a secret; return the time of the last admitted request, in s."""
    begun, last, refused = time.monotonic(), 0.0, 0
    while refused < 2 * TRIES:
        sent = time.monotonic() - begun
        assert sent < 20, "still open"
        reply = scene.proxy.get("/", secret)
        if reply.status == 200:
            last, refused = sent, 0
        else:
            # The worker that knows first is asked again and again until the other knows, and takes that for guessing.
            assert json.loads(reply.body)["code"] in {"token_invalid", "too_many_failures"}
            refused += 1
    return last


@contextmanager
def endless(scene: Scene, header: str) -> Iterator[Callable[[float], bool]]:
    """Start an endless download; yields a function that returns whether it ends in time."""
    with scene.proxy.connect() as connection:
        connection.sendall(f"GET /endless HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")

        def ends_within(seconds: float) -> bool:
            until = time.monotonic() + seconds
            try:
                connection.settimeout(seconds)
                while connection.recv(65536):
                    if time.monotonic() > until:
                        return False
            except ConnectionResetError:
                return True
            except TimeoutError:
                return False
            return True

        yield ends_within


def test_12_a_replaced_secret_works_for_its_grace_period_and_ends_within_a_second(scene: Scene) -> None:
    old = scene.owned.secret
    assert answers(scene, old) == {200}
    with endless(scene, f"X-Access-Token: {old}") as by_old_ends:
        new = rotate(scene, grace=2)
        rotated = time.monotonic()
        assert answers(scene, old) == answers(scene, new) == {200}
        with endless(scene, f"X-Access-Token: {new}") as by_new_ends:
            assert time.monotonic() < rotated + 2
            time.sleep(max(0, rotated + 2 - time.monotonic()))
            assert by_old_ends(1)
            assert open_until(scene, old) < 1
            assert not by_new_ends(0.2)
    assert answers(scene, new) == {200}


def test_12_a_second_rotation_ends_the_first_secret_at_every_worker_within_a_second(scene: Scene) -> None:
    first = scene.owned.secret
    second = rotate(scene, grace=600)
    assert answers(scene, first) == answers(scene, second) == {200}
    with endless(scene, f"X-Access-Token: {first}") as by_first_ends:
        third = rotate(scene, grace=600)
        assert by_first_ends(1)
        assert open_until(scene, first) < 1
    assert answers(scene, second) == answers(scene, third) == {200}


def test_12_without_a_grace_period_old_secret_and_browser_cookie_end_within_a_second(scene: Scene) -> None:
    old = scene.owned.secret
    with scene.factory.begin() as session:
        owner, token_id = scene.owned.user, scene.owned.token.id
        ticket = browser_access.issue_ticket(session, owner, token_id, settings=scene.settings, actor=PLATFORM)
    entered = scene.proxy.request(
        "POST",
        "/_zenzefi/enter",
        body=urlencode({"ticket": ticket}).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"},
    )
    cookie = entered.headers["Set-Cookie"].partition(";")[0]
    with endless(scene, f"Cookie: {cookie}") as by_cookie_ends:
        new = rotate(scene, grace=0)
        assert by_cookie_ends(1)
        assert open_until(scene, old) < 1
        assert scene.proxy.get("/", Cookie=cookie).status == 401
    # The browser's session still holds the token; its owner's own client is another device.
    assert scene.proxy.get("/api/v1/proxy/status", new).status == 200


def test_12_a_session_ended_by_an_admin_aborts_its_download_within_a_second(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "enqueue", lambda *_job: None)
    admin = Browser(create_app(scene.settings).test_client())
    admin.log_in(person(scene.factory, f"dana-{time.monotonic_ns()}", is_superuser=True))
    with endless(scene, f"X-Access-Token: {scene.owned.secret}") as cut_within:
        assert not cut_within(0.3)
        with scene.factory() as session:
            its = select(ProxySession).where(ProxySession.token_id == scene.owned.token.id)
            [held] = session.scalars(its).all()
        assert str(held.id) in admin.get("/admin/sessions?open=1").text
        assert admin.post(f"/admin/sessions/{held.id}/cut").status_code == 303
        assert cut_within(1)
    # The token itself is as good as before: only what was under way has ended.
    assert answers(scene, scene.owned.secret) == {200}
    with scene.factory() as session:
        assert [bool(used.ended_at) for used in session.scalars(its.order_by(ProxySession.started_at))] == [True, False]

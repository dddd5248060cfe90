"""Decisions of the policy: deferred, refused, answered, failed."""

import pytest

from addon.http1.decisions import Admit, Defer, Local, Refuse
from addon.http1.limits import Limits
from addon.http1.messages.forwarding import Rules
from tests.addon.http1.playbook import CHUNKED, GET, OK, Playbook, post
from tests.addon.http1.replies import code, status


def test_a_deferred_decision_holds_back_the_request():
    play = Playbook()
    play.policy.decide = lambda _: Defer()
    play.send(post(b"12345")).send(GET)
    assert play.upstreams == []
    play.answer(Admit(play.upstream, "t1", "u1"))
    assert play.upstreams[0].endswith(b"12345")
    play.reply(OK)
    play.answer(Local(200, b"{}"))
    assert play.received.endswith(b"{}")


def test_a_missing_decision_refuses_the_request():
    play = Playbook()
    play.policy.decide = lambda _: Defer()
    play.send(GET).answer(None)
    assert code(play.received) == "internal"
    assert play.upstreams == []


def test_a_small_body_is_collected_for_the_policy():
    play = Playbook()
    play.policy.decide = lambda _: Defer(body_bytes=10)
    play.send(post(b"a=1&b=2")[:-3])
    assert play.hooks == []
    play.send(b"b=2")
    assert play.hooks[0].data.body == b"a=1&b=2"
    play.answer(Local(303, headers=[("Location", "/")]))
    assert status(play.take()) == 303
    play.send(post(b"x" * 11))
    assert status(play.received) == 413


def test_activation_comes_after_the_connection_and_before_the_first_byte():
    play = Playbook(connects=False)
    play.policy.decide = lambda _: Admit(play.upstream, "t1", "u1", needs_activation=True)
    play.send(GET)
    assert play.hooks == []
    play.connected()
    assert play.upstreams == [b""]
    play.allow()
    assert play.upstreams[0].startswith(b"GET /a")


@pytest.mark.parametrize("silent", [True, False])
def test_activation_can_refuse(silent):
    play = Playbook()
    play.policy.decide = lambda _: Admit(play.upstream, "t1", "u1", needs_activation=True)
    play.send(GET).allow(Refuse(409, "device_conflict", "Another device holds the session."), silent=silent)
    assert play.upstreams == [b""]
    assert status(play.received) == (500 if silent else 409)
    assert not play.closed


def test_activation_survives_the_loss_of_the_connection():
    play = Playbook()
    play.policy.decide = lambda _: Admit(play.upstream, "t1", "u1", needs_activation=True)
    play.send(GET).upstream_hangs_up().allow()
    assert play.upstreams[0] == b""
    assert play.upstreams[1].startswith(b"GET /a")


def test_a_refusal_keeps_a_connection_whose_request_is_complete():
    play = Playbook()
    play.policy.decide = lambda _: Refuse(429, "rate_limited", "Too many.", [("Retry-After", "3")])
    play.send(GET).send(post(b"123"))
    assert play.received.count(b"HTTP/1.1 429") == 2
    assert b"Retry-After: 3\r\n" in play.received
    assert not play.closed


@pytest.mark.parametrize("decision", [Refuse(429, "rate_limited", "Too many."), Local(200, b"{}")])
def test_pipelined_requests_after_a_refused_one_are_dropped(decision):
    play = Playbook()
    play.policy.decide = lambda _: decision
    play.send(GET * 1000)
    assert play.received.count(b"HTTP/1.1 ") == len(play.policy.requests) == 1
    assert b"Connection: close\r\n" in play.received
    assert play.half_closed


def test_a_refusal_lingers_for_a_bounded_while():
    play = Playbook(limits=Limits(linger_bytes=1000))
    play.policy.decide = lambda _: Refuse(401, "token_missing", "An access token is needed.")
    play.send(post(b"x" * 100_000)[:-99_000])
    assert b"Connection: close" in play.received
    assert play.half_closed
    assert not play.closed
    play.send(b"x" * 2000)
    assert play.closed


def test_a_linger_ends_by_itself():
    play = Playbook()
    play.policy.decide = lambda _: Refuse(401, "token_missing", "An access token is needed.")
    play.send(post(b"x" * 100)[:-50]).wait(2.25)
    assert play.closed


def test_a_browser_gets_a_page():
    play = Playbook()
    play.policy.decide = lambda _: Refuse(403, "scope_denied", "<script>")
    play.send(GET.replace(b"\r\n\r\n", b"\r\nAccept: text/html,*/*\r\n\r\n"))
    assert b"Content-Type: text/html" in play.received
    assert b"&lt;script&gt;" in play.received


def test_head_gets_the_head_of_a_refusal():
    play = Playbook()
    play.policy.decide = lambda _: Refuse(403, "scope_denied", "No.")
    play.send(GET.replace(b"GET", b"HEAD")).send(GET)
    first, _, rest = play.received.partition(b"\r\n\r\n")
    assert b"Content-Length: " in first
    assert rest.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("where", ["admit", "on_open", "on_close"])
def test_a_policy_that_fails_lets_nothing_through(where):
    play = Playbook()

    def fail(*_: object) -> None:
        raise RuntimeError("the policy failed")

    setattr(play.policy, where, fail)
    play.send(GET)
    if where == "on_close":
        play.reply(OK)
        assert play.received.endswith(b"ok")
        return
    assert code(play.received) == "internal"
    assert play.upstreams == []
    assert play.exchange.status == 500
    assert play.half_closed


def test_an_internal_error_during_a_response_is_a_reset():
    play = Playbook().send(GET).reply(OK[:-1])

    def fail(*_: object) -> None:
        raise RuntimeError("the policy failed")

    play.policy.on_bytes = fail
    play.reply(b"k")
    assert play.closed
    assert play.sockets.aborted


def test_reserved_paths_are_never_forwarded():
    for path in (
        b"/_zenzefi/x",
        b"/%5fzenzefi/x",
        b"/_Zen%5aefi/x",
        b"/_zenzefi;a=1/x",
        b"/_zenzefi%3Ba/x",
        b"/api/v1/proxy/_zenzefi/x",
        b"/_zenzefi",
    ):
        play = Playbook().send(GET.replace(b"/a", path))
        assert code(play.received) == "not_found"
        assert play.upstreams == []


def test_only_get_and_head_of_a_doubled_slash_health_are_answered():
    for request, rules in (
        (b"POST //health", Rules()),
        (b"GET //health", Rules(compatibility_prefix=b"")),
        (b"GET //Health", Rules()),
        (b"GET //health/", Rules()),
        (b"GET /api/v1/proxy//health", Rules()),
    ):
        # Every other spelling is a request to the upstream like any other.
        play = Playbook(rules=rules).send(request + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        path = request.partition(b" ")[2].removeprefix(b"/api/v1/proxy")
        assert [request.path for request in play.policy.requests] == [path]
        assert b" " + path + b" HTTP/1.1\r\n" in play.upstreams[0]
    play = Playbook().send(b"GET //health HTTP/1.1\r\nHost: a\r\n\r\n")
    assert play.policy.requests[0].raw_path == b"/health"


def test_the_body_limit():
    play = Playbook(limits=Limits(body_bytes=10)).send(post(b"x" * 11))
    assert code(play.received) == "body_too_large"
    assert play.upstreams == []
    play = Playbook(limits=Limits(body_bytes=10)).send(CHUNKED + b"b\r\n" + b"x" * 11)
    assert code(play.received) == "body_too_large"


def test_an_overloaded_connection_is_refused_and_closed():
    play = Playbook(is_overloaded=True)
    play.send(GET)
    assert code(play.received) == "overloaded"
    assert play.half_closed


def test_draining_finishes_running_exchanges_and_closes_idle_connections():
    play = Playbook().send(GET).drain()
    assert not play.closed
    play.reply(OK)
    assert b"Connection: close" in play.received
    assert play.closed
    idle = Playbook().send(GET).reply(OK).drain()
    assert not idle.closed
    idle.wait(1.25)
    assert idle.closed
    late = Playbook().send(GET).reply(OK).drain().send(GET).reply(OK)
    assert late.received.count(b"200 OK") == 2
    assert late.received.count(b"Connection: close") == 1
    assert late.closed

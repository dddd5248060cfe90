"""Deadlines, and aborts in every phase of an exchange."""

from dataclasses import replace

import pytest

from addon.http1.decisions import Admit, Defer
from addon.http1.limits import Limits
from addon.http1.upstream_pool.limits import PoolLimits
from tests.addon.http1.playbook import GET, OK, Playbook, post
from tests.addon.http1.replies import code, status

LIMITS = Limits(
    head_seconds=5,
    body_idle_seconds=6,
    admit_seconds=3,
    connect_seconds=2,
    first_byte_seconds=8,
    response_idle_seconds=9,
    keep_alive_seconds=10,
    tunnel_idle_seconds=20,
)
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: proxy.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def tunnel() -> Playbook:
    play = Playbook(limits=LIMITS).send(UPGRADE).reply(SWITCH)
    play.take()
    return play


def test_a_head_sent_byte_by_byte_is_a_408():
    play = Playbook(limits=LIMITS)
    for byte in GET[:20]:
        play.send(bytes([byte])).wait(0.5)
        if play.half_closed:
            break
    assert code(play.received) == "request_timeout"


def test_an_empty_line_is_not_yet_a_head():
    play = Playbook(limits=LIMITS).send(GET).reply(OK).send(b"\r\n").wait(8).send(GET[:10]).wait(1)
    assert b"408" not in play.received
    play.send(GET[10:]).reply(OK)
    assert play.received.count(b"200 OK") == 2


def test_a_later_head_has_its_own_deadline():
    play = Playbook(limits=LIMITS).send(GET).reply(OK).wait(8).send(b"GET /").wait(4.5)
    assert not play.half_closed
    play.wait(1)
    assert b"408" in play.received


def test_an_idle_connection_is_closed_without_a_response():
    play = Playbook(limits=LIMITS).send(GET).reply(OK)
    play.take()
    play.wait(9.5)
    assert not play.closed
    play.wait(1)
    assert play.closed
    assert play.received == b""


def test_the_upstream_connection_of_an_idle_client_is_closed_first():
    limits, pool = Limits(keep_alive_seconds=10), PoolLimits(idle_seconds=4)
    play = Playbook(limits=limits, pool=pool).send(GET).reply(OK).wait(4.25)
    assert not play.server.connected
    assert not play.closed
    play.wait(5)
    assert not play.closed
    play.wait(1)
    assert play.closed


def test_a_response_may_continue_after_a_long_upload():
    play = Playbook(limits=LIMITS).send(post(b"12345")[:-1]).reply(OK[:-1]).send(b"5").wait(8)
    play.reply(b"k")
    assert play.exchange.status == 200
    assert play.received.endswith(b"ok")


def test_a_body_that_stalls_is_a_408():
    play = Playbook(limits=LIMITS).send(post(b"12345")[:-3]).wait(5).send(b"3").wait(5)
    assert play.received == b""
    play.wait(1.5)
    assert code(play.received) == "request_timeout"
    assert not play.server.connected


def test_an_upstream_that_does_not_take_the_body_is_a_504():
    play = Playbook(limits=LIMITS).send(post(b"12345")[:-3])
    play.server.transport.unsent = 100
    play.wait(6.5)
    assert code(play.received) == "upstream_timeout"


def test_an_upstream_that_cannot_be_reached_in_time_is_a_502():
    play = Playbook(limits=LIMITS, connects=False, addresses=2).send(GET).wait(2.25)
    assert len(play.servers) == 2
    play.wait(2.25)
    assert code(play.received) == "upstream_unreachable"


def test_an_upstream_that_does_not_answer_is_a_504():
    play = Playbook(limits=LIMITS).send(GET).wait(8.25)
    assert code(play.received) == "upstream_timeout"
    assert not play.server.connected
    assert not play.closed


def test_a_response_that_stalls_is_aborted():
    play = Playbook(limits=LIMITS).send(GET).reply(OK[:-1]).wait(9.25)
    assert play.closed
    assert play.exchange.code == "upstream_timeout"
    assert play.exchange.status == 200


def test_a_client_that_does_not_read_is_aborted():
    play = Playbook(limits=LIMITS).send(GET).reply(OK[:-1])
    play.sockets.unsent = 70_000
    play.wait(9.25)
    assert play.sockets.aborted
    assert play.exchange.code == "client_timeout"


def test_a_decision_that_takes_too_long_is_a_503():
    play = Playbook(limits=LIMITS)
    play.policy.decide = lambda _: Defer()
    play.send(GET).wait(3.25)
    assert code(play.received) == "unavailable"
    play.answer(Admit(play.upstream, "t1", "u1"))
    assert play.upstreams == []


def test_an_activation_that_takes_too_long_is_a_503():
    play = Playbook(limits=LIMITS)
    play.policy.decide = lambda _: Admit(play.upstream, "t1", "u1", needs_activation=True)
    play.send(GET).wait(3.25)
    assert code(play.received) == "unavailable"
    play.allow()
    assert play.upstreams == [b""]


def test_a_form_that_stalls_is_a_408():
    play = Playbook(limits=LIMITS)
    play.policy.decide = lambda _: Defer(body_bytes=100)
    play.send(post(b"12345")[:-3]).wait(3.25)
    assert code(play.received) == "request_timeout"


def test_the_total_deadline_holds_despite_progress():
    play = Playbook(limits=Limits(total_seconds=4)).send(GET).reply(OK[:-2] + b"o")
    for _ in range(3):
        play.wait(1.5)
    assert play.closed
    assert play.exchange.code == "upstream_timeout"


@pytest.mark.parametrize("stage", ["deciding", "connecting", "first use", "waiting", "uploading", "expecting"])
def test_an_abort_before_the_response_sends_its_refusal(stage):
    play = Playbook(connects=stage != "connecting")
    if stage == "deciding":
        play.policy.decide = lambda _: Defer()
    if stage == "first use":
        play.policy.decide = lambda _: Admit(play.upstream, "t1", "u1", needs_activation=True)
    if stage == "uploading":
        play.send(post(b"12345")[:-1])
    elif stage == "expecting":
        play.send(post(b"12345", b"Expect: 100-continue\r\n")[:-5])
    else:
        play.send(GET)
    play.abort()
    assert code(play.received) == "token_revoked"
    assert status(play.received) == 401
    assert play.exchange.code == "token_revoked"
    assert play.half_closed
    assert all(not server.connected for server in play.servers)


def test_an_abort_during_a_download_is_a_reset():
    play = Playbook().send(GET).reply(OK[:-1]).abort()
    assert play.closed
    assert play.server.transport.was_aborted
    assert play.sockets.aborted
    assert (play.exchange.code, play.exchange.status) == ("token_revoked", 200)
    play.reply(b"k")
    assert play.exchange.bytes_out == 1


def test_an_idle_connection_is_aborted_too():
    play = Playbook().send(GET).reply(OK).abort()
    assert play.closed


def test_the_registry_aborts_connections_by_their_last_token():
    play = Playbook().send(GET).reply(OK)
    registry = play.worker_context.registry
    play.policy.decide = lambda _: Admit(play.upstream, "t2", "u1")
    play.send(GET).reply(OK)
    refusal = play.exchange
    assert refusal is not None
    assert registry.abort("t1", None) == 0
    assert registry.abort("t2", None) == 1
    assert play.closed
    assert registry.abort("t2", None) == 0


def test_the_sweeper_wakes_layers_with_a_passed_deadline():
    play = Playbook(limits=LIMITS).send(GET)
    play.time += 100
    play.worker_context.registry.sweep(play.time)
    assert code(play.received) == "upstream_timeout"


def test_a_lost_connection_reports_its_exchange():
    play = Playbook().send(post(b"12345")[:-1])
    play.layer.lost()
    assert play.exchange.code == "client_closed"
    assert play.exchange.bytes_in == 4


def test_a_websocket_is_a_counted_tunnel():
    play = Playbook(limits=replace(LIMITS, half_close=True)).send(UPGRADE)
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in play.upstreams[0]
    play.reply(SWITCH + b"hello")
    assert play.take().endswith(b"\r\n\r\nhello")
    play.send(b"to you").reply(b"and you")
    assert play.upstreams[0].endswith(b"to you")
    assert play.received == b"and you"
    play.hang_up()
    assert play.half_closed_upstreams == {0}
    play.upstream_hangs_up()
    assert play.closed
    assert (play.exchange.status, play.exchange.bytes_in, play.exchange.bytes_out) == (101, 6, 12)
    assert play.exchange.tunnel


def test_the_upstream_may_end_a_tunnel_first():
    play = tunnel().upstream_hangs_up()
    assert play.half_closed
    assert not play.closed
    play.hang_up()
    assert play.closed


def test_a_tunnel_whose_client_is_lost_is_over():
    play = tunnel().hang_up(lost=True)
    assert play.closed


def test_an_idle_tunnel_is_closed():
    play = tunnel().wait(15).send(b"x").wait(15)
    assert not play.closed
    play.wait(6)
    assert play.closed


def test_a_tunnel_is_aborted():
    play = tunnel().abort()
    assert play.closed
    assert play.sockets.aborted
    assert play.exchange.code == "token_revoked"


def test_an_upgrade_that_is_declined_is_an_ordinary_response():
    play = Playbook().send(UPGRADE).reply(OK).send(GET).reply(OK)
    assert play.received.count(b"200 OK") == 2


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket, h2c", b"TLS/1.0"])
def test_any_other_upgrade_is_removed(protocol):
    play = Playbook().send(UPGRADE.replace(b"Upgrade: WebSocket", b"Upgrade: " + protocol))
    assert b"pgrade" not in play.upstreams[0]
    play.reply(SWITCH)
    assert code(play.received) == "upstream_invalid"


def test_a_switch_to_another_protocol_is_refused():
    play = Playbook().send(UPGRADE).reply(SWITCH.replace(b"websocket", b"h2c"))
    assert code(play.received) == "upstream_invalid"


def test_a_switch_that_was_not_requested_is_refused():
    play = Playbook().send(GET).reply(SWITCH)
    assert code(play.received) == "upstream_invalid"
    assert not play.server.connected

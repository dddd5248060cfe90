"""The pool of upstream connections: who gets which one, how many there are, and when one is closed."""

import socket

import pytest

from addon.http1.decisions import Admit
from addon.http1.upstream_pool.limits import PoolLimits
from tests.addon.http1.playbook import GET, OK, Network, Playbook, post
from tests.addon.http1.replies import code


class Clients:
    """Several client connections of a worker; each belongs to one user."""

    def __init__(self, limits: PoolLimits | None = None, *, connects: bool = True, addresses: int = 1) -> None:
        self.time = 1000.0
        self.connects = connects
        self.addresses = addresses
        self.network = Network(limits, lambda: self.time)
        self.pool = self.network.pool
        self.plays: list[Playbook] = []

    def client(self, user: str) -> Playbook:
        play = Playbook(connects=self.connects, addresses=self.addresses, network=self.network)
        if self.plays:
            play.upstream = self.plays[0].upstream
        play.policy.decide = lambda _: Admit(play.upstream, f"t-{user}", user)
        self.plays.append(play)
        return play

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.pool.sweep()
        for play in self.plays:
            play.wait(seconds)


def test_a_connection_serves_the_next_client_of_the_same_user():
    clients = Clients()
    clients.client("alice").send(GET).reply(OK)
    other = clients.client("alice").send(GET).reply(OK)
    assert other.received.endswith(b"ok")
    assert len(clients.network.servers) == 1


def test_a_connection_does_not_serve_another_user():
    clients = Clients()
    clients.client("alice").send(GET).reply(OK)
    clients.client("bob").send(GET).reply(OK)
    assert len(clients.network.servers) == 2
    assert (clients.pool.open, clients.pool.idle) == (2, 2)


def test_a_shared_pool_serves_everybody():
    clients = Clients(PoolLimits(is_shared=True))
    clients.client("alice").send(GET).reply(OK)
    clients.client("bob").send(GET).reply(OK)
    assert len(clients.network.servers) == 1


def test_an_idle_client_holds_no_connection():
    clients = Clients()
    for _ in range(50):
        clients.client("alice").send(GET).reply(OK)
    assert (clients.pool.open, clients.pool.idle) == (1, 1)


@pytest.mark.parametrize("surplus", [b"x", OK])
def test_a_byte_on_an_idle_connection_ends_it(surplus):
    clients = Clients()
    clients.client("alice").send(GET).reply(OK)
    clients.network.servers[0].connection.receive(surplus)
    assert clients.pool.open == 0
    play = clients.client("alice").send(GET)
    assert play.take() == b""
    assert play.reply(OK).received.endswith(b"ok")


def test_bytes_that_were_received_but_not_read_yet_end_an_idle_connection():
    """The loop may run the next request first: the socket itself is asked before it is used again."""
    clients = Clients()
    clients.client("alice").send(GET).reply(OK)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        clients.network.servers[0].transport.socket = ours
        theirs.sendall(OK)
        clients.client("alice").send(GET)
        assert len(clients.network.servers) == 2


@pytest.mark.parametrize(
    "response",
    [
        OK + b"x",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
    ],
)
def test_a_doubtful_end_of_an_exchange_closes_the_connection(response):
    clients = Clients()
    clients.client("alice").send(GET).reply(response)
    assert clients.pool.open == 0


def test_an_early_response_closes_the_connection():
    clients = Clients()
    clients.client("alice").send(post(b"12345")[:-1]).reply(OK)
    assert clients.pool.open == 0


def test_a_client_that_leaves_closes_its_connection():
    clients = Clients()
    clients.client("alice").send(GET).hang_up()
    assert clients.pool.open == 0
    assert clients.network.servers[0].transport.closed


def test_a_tunnel_is_not_given_back():
    clients = Clients()
    request = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n"
    play = clients.client("alice").send(request)
    play.reply(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert (clients.pool.open, clients.pool.idle) == (1, 0)
    play.hang_up(lost=True)
    assert clients.pool.open == 0


def test_a_dead_kept_connection_is_replaced_once():
    """RFC 9110, 9.2.2: a request that is safe to repeat, of which no byte was answered."""
    clients = Clients()
    for _ in range(2):
        clients.client("alice").send(GET)
    for server in clients.network.servers:
        server.connection.receive(OK)
    play = clients.client("alice").send(GET)
    clients.network.servers[1].connection.eof_received()
    assert len(clients.network.servers) == 3, "the other idle connection may be dead too"
    clients.network.servers[2].connection.eof_received()
    assert code(play.received) == "upstream_closed"


def test_the_longest_idle_connection_of_the_busiest_user_goes_first():
    clients = Clients(PoolLimits(idle=3))
    clients.client("bob").send(GET).reply(OK)
    for _ in range(3):
        clients.client("alice").send(GET)
    for server in clients.network.servers[1:]:
        server.connection.receive(OK)
    assert [server.connected for server in clients.network.servers] == [True, False, True, True]


def test_an_idle_connection_is_closed_after_its_time():
    clients = Clients(PoolLimits(idle_seconds=10))
    clients.client("alice").send(GET).reply(OK)
    clients.wait(9)
    assert clients.pool.idle == 1
    clients.wait(1)
    assert clients.pool.open == 0


def test_a_connection_carries_no_more_requests_than_it_may():
    clients = Clients(PoolLimits(max_requests=2))
    for _ in range(3):
        clients.client("alice").send(GET).reply(OK)
    assert len(clients.network.servers) == 2


def test_a_connection_is_not_used_beyond_its_age():
    clients = Clients(PoolLimits(max_age_seconds=20, idle_seconds=100))
    play = clients.client("alice").send(GET).reply(OK)
    clients.wait(19)
    play.send(GET)
    clients.time += 2
    play.reply(OK)
    assert clients.pool.open == 0
    clients.client("alice").send(GET).reply(OK)
    clients.wait(20)
    assert clients.pool.open == 0


def test_above_the_limit_a_request_waits_for_a_connection_of_its_user():
    clients = Clients(PoolLimits(connections=1))
    first, second = clients.client("alice").send(GET), clients.client("alice").send(GET)
    assert len(clients.network.servers) == 1
    first.reply(OK)
    assert first.received.endswith(b"ok")
    assert clients.network.servers[0].transport.written.count(b"GET ") == 2
    clients.network.servers[0].connection.receive(OK)
    assert second.received.endswith(b"ok")


def test_above_the_limit_another_user_gets_a_new_connection_in_the_place_of_the_old_one():
    clients = Clients(PoolLimits(connections=1))
    first, second = clients.client("alice").send(GET), clients.client("bob").send(GET)
    first.reply(OK)
    assert clients.network.servers[0].transport.closed
    assert clients.network.servers[1].transport.written.startswith(b"GET ")
    clients.network.servers[1].connection.receive(OK)
    assert second.received.endswith(b"ok")
    assert clients.pool.open == 1


def test_an_idle_connection_of_another_user_makes_room():
    clients = Clients(PoolLimits(connections=1))
    clients.client("alice").send(GET).reply(OK)
    assert clients.client("bob").send(GET).reply(OK).received.endswith(b"ok")
    assert [server.connected for server in clients.network.servers] == [False, True]


def test_a_full_queue_is_a_503_that_says_when_to_retry():
    clients = Clients(PoolLimits(connections=1, queue=1))
    for _ in range(2):
        clients.client("alice").send(GET)
    play = clients.client("alice").send(GET)
    assert code(play.received) == "upstream_busy"
    assert b"HTTP/1.1 503 " in play.received
    assert b"Retry-After: 1\r\n" in play.received
    assert not play.closed


def test_a_request_does_not_wait_for_ever():
    clients = Clients(PoolLimits(connections=1, queue_seconds=5))
    clients.client("alice").send(GET)
    play = clients.client("bob").send(GET)
    play.wait(4)
    assert play.received == b""
    play.wait(1.25)
    assert code(play.received) == "upstream_busy"
    assert clients.pool.open == 1


def test_a_client_that_leaves_the_queue_does_not_block_it():
    clients = Clients(PoolLimits(connections=1))
    first = clients.client("alice").send(GET)
    clients.client("bob").send(GET).hang_up(lost=True)
    third = clients.client("alice").send(GET)
    first.reply(OK)
    clients.network.servers[0].connection.receive(OK)
    assert third.received.endswith(b"ok")


def test_a_connection_that_opens_for_a_client_that_has_left_is_closed():
    clients = Clients(connects=False)
    play = clients.client("alice").send(GET).hang_up(lost=True)
    assert play.closed
    assert clients.pool.open == 0
    assert clients.network.servers[0].was_canceled


def test_a_failed_connection_frees_its_place():
    clients = Clients(PoolLimits(connections=1), connects=False)
    first, second = clients.client("alice").send(GET), clients.client("bob").send(GET)
    first.connected("refused")
    assert code(first.received) == "upstream_unreachable"
    second.connected()
    clients.network.servers[1].connection.receive(OK)
    assert second.received.endswith(b"ok")


def test_an_address_with_room_is_preferred_to_the_queue_of_a_full_one():
    clients = Clients(PoolLimits(connections=1), addresses=2)
    for _ in range(2):
        clients.client("alice").send(GET)
    assert len({server.address for server in clients.network.servers}) == 2


@pytest.mark.parametrize("scheme", [b"NTLM", b"Negotiate", b'Basic realm="a", Negotiate'])
def test_an_authenticated_connection_stays_with_its_client(scheme):
    """NTLM, and Negotiate as RFC 4559 uses it, authenticate the connection: another client must not inherit it."""
    clients = Clients()
    play = clients.client("alice").send(GET)
    play.reply(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %b\r\nContent-Length: 0\r\n\r\n" % scheme)
    clients.client("alice").send(GET)
    assert len(clients.network.servers) == 2
    play.send(GET)
    assert clients.network.servers[0].transport.written.count(b"GET ") == 2
    clients.network.servers[0].connection.receive(OK)
    play.hang_up()
    assert clients.network.servers[0].transport.closed


def test_new_tls_files_end_the_connections_of_the_former_ones():
    clients = Clients()
    busy, idle = clients.client("alice").send(GET), clients.client("bob").send(GET).reply(OK)
    clients.pool.reload_tls()
    assert clients.pool.open == 1
    clients.network.servers[0].connection.receive(OK)
    assert busy.received.endswith(b"ok")
    assert idle.received.endswith(b"ok")
    assert clients.pool.open == 0


def test_a_slow_client_stops_reading_from_the_upstream():
    clients = Clients()
    play = clients.client("alice").send(GET)
    play.sockets.congested = True
    play.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)
    transport = clients.network.servers[0].transport
    assert not transport.reading
    play.sockets.congested = False
    play.sockets.resuming[0]()
    assert transport.reading


def test_a_slow_upstream_stops_reading_from_the_client():
    clients = Clients()
    play = clients.client("alice").send(post(b"x" * 1000)[:-900])
    connection = clients.network.servers[0].connection
    connection.pause_writing()
    assert play.sockets.paused
    connection.resume_writing()
    assert not play.sockets.paused
    connection.pause_writing()
    play.reply(OK)
    assert not play.sockets.paused, "the client's next request must be read"

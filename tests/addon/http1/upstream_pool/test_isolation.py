"""No interleaving of exchanges on shared connections gives a client the bytes of another one (RFC 9112, 9.2).

docs/spec/invariants.md#34-responses-stay-with-their-user
"""

import re
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from addon.http1.upstream_pool.limits import PoolLimits
from tests.addon.http1.playbook import Playbook
from tests.addon.http1.upstream_pool.test_pool import Clients

USERS = ("alice", "bob", "carol")
METHODS = ("GET", "HEAD", "POST", "PUT")
REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|PUT) /(\d+) HTTP/1\.1\r\n")
SHAPES = ("length", "chunked", "close", "empty", "204", "304", "continue", "hints", "announced")


class World:
    """Clients and a scripted upstream, and the model: which marks each client may receive.

    Every response carries the mark of the request that the upstream answers with it. Whatever the upstream sends, a
    client may only receive marks of requests of its own user. As long as the upstream has sent nothing too much on a
    connection, a client may only receive the marks of its own requests.
    """

    def __init__(self, limits: PoolLimits) -> None:
        self.clients = Clients(limits, connects=False)
        self.plays: list[tuple[str, Playbook]] = []
        self.asked: dict[int, list[str]] = defaultdict(list)
        self.owner: dict[str, int] = {}
        self.number = 0
        # Of each upstream connection: how many of its requests were answered.
        self.answered: dict[int, int] = defaultdict(int)
        self.is_exact = True

    def join(self, user: str) -> None:
        self.plays.append((user, self.clients.client(user)))

    def ask(self, index: int, method: str, *, is_whole: bool = True) -> None:
        client = index % len(self.plays)
        _, play = self.plays[client]
        has_ended = len(play.policy.closed) == len(play.policy.opened)
        if play.closed or play.half_closed or not has_ended:
            return
        self.number += 1
        mark = f"<{self.number}>"
        self.asked[client].append(mark)
        self.owner[mark] = client
        body = b"" if method in ("GET", "HEAD") else b"body"
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        head = f"{method} /{self.number} HTTP/1.1\r\nHost: a\r\n".encode() + length + b"\r\n"
        play.send(head + (body if is_whole else body[:2]))

    def connect(self, is_success: bool) -> None:
        if self.clients.network.opening:
            self.clients.network.connect(None if is_success else "refused")

    def _requests(self, index: int) -> list[tuple[str, str]]:
        """Return method and mark of the requests that an upstream connection has received."""
        written = self.clients.network.servers[index].transport.written
        return [(method.decode(), f"<{number.decode()}>") for method, number in REQUEST_LINE.findall(written)]

    def answer(self, choice: int, shape: str, cut: int) -> None:
        servers = self.clients.network.servers
        waiting = [n for n in range(len(servers)) if len(self._requests(n)) > self.answered[n]]
        if not waiting:
            return
        index = waiting[choice % len(waiting)]
        method, mark = self._requests(index)[self.answered[index]]
        self.answered[index] += 1
        connection = servers[index].connection
        reply = response(mark.encode(), shape, is_head=method == "HEAD")
        for piece in (reply[: cut % (len(reply) + 1)], reply[cut % (len(reply) + 1) :]):
            if piece:
                connection.receive(piece)
        if shape == "close":
            connection.eof_received()

    def surplus(self, choice: int) -> None:
        """Let the upstream repeat its last response, in whole, to nobody's request."""
        servers = self.clients.network.servers
        candidates = [n for n in range(len(servers)) if self.answered[n]]
        if candidates:
            index = candidates[choice % len(candidates)]
            _, mark = self._requests(index)[self.answered[index] - 1]
            self.is_exact = False
            servers[index].connection.receive(response(mark.encode(), "length", is_head=False))

    def end(self, choice: int, is_lost: bool) -> None:
        servers = self.clients.network.servers
        if servers:
            connection = servers[choice % len(servers)].connection
            if is_lost:
                connection.connection_lost(ConnectionResetError("reset"))
            else:
                connection.eof_received()

    def leave(self, index: int) -> None:
        _, play = self.plays[index % len(self.plays)]
        if not play.closed:
            play.hang_up(lost=True)

    def check(self) -> None:
        users = [user for user, _ in self.plays]
        for client, (user, play) in enumerate(self.plays):
            for mark, owner in self.owner.items():
                if mark.encode() in play.received:
                    assert users[owner] == user, f"{user} received {mark} of {users[owner]}"
                    if self.is_exact:
                        assert owner == client, f"{mark} reached another connection of {user}"
        pool, network = self.clients.pool, self.clients.network
        alive = [server for server in network.servers if server.connected]
        assert pool.idle <= len(alive) <= pool.open


def response(mark: bytes, shape: str, *, is_head: bool) -> bytes:
    """Return a response in one of the shapes that HTTP/1.1 has."""
    sized = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(mark)
    body = b"" if is_head else mark
    chunks = b"" if is_head else b"%x\r\n%b\r\n0\r\n\r\n" % (len(mark), mark)
    return {
        "length": sized + body,
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
        "close": b"HTTP/1.1 200 OK\r\n\r\n" + body,
        "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "204": b"HTTP/1.1 204 No Content\r\n\r\n",
        "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
        "announced": b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(mark),
        "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + sized + body,
        "hints": b"HTTP/1.1 103 Early Hints\r\n\r\n" + sized + body,
    }[shape]


NUMBER = st.integers(0, 7)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), NUMBER, st.sampled_from(METHODS), st.booleans()),
        st.tuples(st.just("ask"), NUMBER, st.sampled_from(METHODS), st.just(True)),
        st.tuples(st.just("connect"), st.sampled_from([True, True, True, False])),
        st.tuples(st.just("connect"), st.just(True)),
        st.tuples(st.just("answer"), NUMBER, st.sampled_from(SHAPES), st.integers(0, 60)),
        st.tuples(st.just("answer"), NUMBER, st.just("length"), st.integers(0, 60)),
        st.tuples(st.just("surplus"), NUMBER),
        st.tuples(st.just("end"), NUMBER, st.booleans()),
        st.tuples(st.just("leave"), NUMBER),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 6.0, 40.0])),
    ),
    min_size=6,
    max_size=40,
)
LIMITS = st.builds(
    PoolLimits,
    connections=st.sampled_from([0, 1, 2, 3]),
    idle=st.sampled_from([0, 1, 256]),
    max_requests=st.sampled_from([0, 1, 3]),
    queue=st.sampled_from([0, 1, 8]),
)


@settings(max_examples=300, deadline=None)
@given(STEPS, LIMITS, st.lists(st.sampled_from(USERS), min_size=2, max_size=5))
def test_34_a_client_never_receives_the_response_of_another(steps, limits, users):
    world = World(limits)
    for user in users:
        world.join(user)
    for step, *values in steps:
        match step:
            case "ask":
                world.ask(values[0], values[1], is_whole=values[2])
            case "connect":
                world.connect(*values)
            case "answer":
                world.answer(*values)
            case "surplus":
                world.surplus(*values)
            case "end":
                world.end(*values)
            case "leave":
                world.leave(*values)
            case "wait":
                world.clients.wait(*values)
        world.check()

"""A kept upstream connection belongs to one user: no byte of one user's exchange reaches another (RFC 9112, 9.2).

HTTP/1.1 pairs a response with its request by order alone. A surplus or late byte of the upstream would be read as the
beginning of the next response, whichever user requested it.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.http1.decisions import Admit
from tests.addon.http1.playbook import Playbook

USERS = ("alice", "bob")


class Shared:
    """One client connection that carries requests of several users, as that of a reverse proxy in front does."""

    def __init__(self) -> None:
        self.play = Playbook()
        # A new token each time: what counts is whose it is.
        self.play.policy.decide = lambda request: Admit(
            self.play.upstream, f"t{len(self.play.policy.requests)}", request.headers.first[b"x-as"].decode()
        )
        # For whom each upstream connection was opened.
        self.owners: list[str] = []
        self.received: list[tuple[str, bytes]] = []
        self.asking = ""

    def ask(self, user: str) -> None:
        self._note()
        self.asking = user
        before = len(self.play.upstreams)
        self.play.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-As: %b\r\n\r\n" % user.encode())
        self.owners += [user] * (len(self.play.upstreams) - before)

    def answer(self, connection: int) -> None:
        """Let an upstream connection send a whole response, which carries the mark of the connection's owner."""
        mark = f"<{self.owners[connection]}>".encode()
        self.play.reply_on(connection, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(mark), mark))

    def _note(self) -> None:
        self.received.append((self.asking, self.play.take()))

    def leaks(self) -> list[tuple[str, bytes]]:
        """Return what reached a user with the mark of another one."""
        self._note()
        return [
            (user, data)
            for user, data in self.received
            if any(f"<{other}>".encode() in data for other in USERS if other != user)
        ]


def test_a_surplus_response_of_one_user_does_not_reach_the_next_one():
    shared = Shared()
    shared.ask("alice")
    shared.answer(0)
    shared.ask("bob")
    shared.answer(0)
    assert b"<alice>" not in shared.play.received
    shared.answer(1)
    assert shared.play.received.endswith(b"<bob>")
    assert shared.leaks() == []


def test_a_kept_connection_serves_every_token_of_its_user():
    shared = Shared()
    for _ in range(3):
        shared.ask("alice")
        shared.answer(0)
    assert len(shared.play.upstreams) == 1


def test_a_surplus_byte_ends_the_kept_connection():
    shared = Shared()
    shared.ask("alice")
    shared.answer(0)
    shared.play.reply_on(0, b"x")
    assert not shared.play.servers[0].connected
    shared.ask("alice")
    assert len(shared.play.upstreams) == 2


@pytest.mark.parametrize("late", [b"", b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<al>"])
def test_another_user_is_served_on_another_connection(late):
    shared = Shared()
    shared.ask("alice")
    shared.answer(0)
    shared.ask("bob")
    assert len(shared.play.upstreams) == 2
    if late:
        shared.play.reply_on(0, late)
        assert not shared.play.servers[0].connected
    shared.answer(1)
    assert shared.play.take().endswith(b"\r\n\r\n<bob>")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(USERS)),
        st.tuples(st.just("answer"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["last", "last", "last", "half", "close"]), st.integers(0, 2)),
    ),
    min_size=4,
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_no_interleaving_leaks_a_byte_between_users(steps):
    shared = Shared()
    for step, value in steps:
        connections = len(shared.owners)
        if step == "ask" and isinstance(value, str):
            # The next request goes out when the response before it is complete, as a reverse proxy does.
            is_idle = len(shared.play.policy.closed) == len(shared.play.policy.opened)
            if is_idle and not (shared.play.closed or shared.play.half_closed):
                shared.ask(value)
        elif connections and isinstance(value, int):
            index = connections - 1 if step == "last" else value % connections
            if step in ("answer", "last"):
                shared.answer(index)
            elif step == "half":
                shared.play.reply_on(index, f"<{shared.owners[index]}>".encode())
            else:
                shared.play.upstream_hangs_up(index=index)
    assert shared.leaks() == []

"""However the bytes of an exchange are split, both sides parse the same messages.

h11 reads what the layer wrote: a parser that shares nothing with ours.
"""

import re
from itertools import pairwise

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.addon.http1.playbook import Playbook

REQUESTS = [
    b"GET /a?b=1 HTTP/1.1\r\nHost: a\r\nX-N: 1\r\n\r\n",
    b"HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
    b"POST /empty HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"POST /c0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\r\nGET /after-an-empty-line HTTP/1.1\r\nHost: a\r\n\r\n",
]
REPLIES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-R: 1\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;e\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 502 Bad\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad",
]
BROKEN = [
    b"GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    b"nonsense\r\n\r\n",
]

type Message = tuple[object, ...]


def reply_for(method: bytes, reply: bytes) -> bytes:
    """Return the response without its body if the request is HEAD."""
    if method != b"HEAD":
        return reply
    heads = re.findall(rb"HTTP/1\.1 .*?\r\n\r\n", reply, re.DOTALL)
    return b"".join(heads)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


def read(role: type, data: bytes, methods: list[bytes]) -> list[Message]:
    """Let h11 read a stream of messages; join each body, drop the request id."""
    messages: list[Message] = []
    for method in methods:
        ours = h11.CLIENT if role is h11.SERVER else h11.SERVER
        connection = h11.Connection(ours)
        if role is h11.SERVER:
            connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
            connection.send(h11.EndOfMessage())
        if data:  # To h11, no bytes are the end.
            connection.receive_data(data)
        body = b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                messages.append(("incomplete", body))
                return messages
            if isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                messages.append(("end", body, *event.headers.raw_items()))
                break
            else:
                headers = [pair for pair in event.headers.raw_items() if pair[0].lower() != b"x-request-id"]
                start = (event.method, event.target) if isinstance(event, h11.Request) else (event.status_code,)
                messages.append((type(event).__name__, *start, *headers))
        data = connection.trailing_data[0]
    messages.append(("rest", data))
    return messages


def run(requests: list[bytes], replies: list[bytes], cuts: list[int], broken: bytes) -> tuple[object, ...]:
    """Play the exchanges; the upstream responds to each request when it is complete."""
    methods = [raw.split()[0] for raw in requests]
    play = Playbook()
    answered = 0

    def serve() -> None:
        nonlocal answered
        while answered < len(requests):
            seen = read(h11.CLIENT, b"".join(play.upstreams), methods[: answered + 1])
            if sum(message[0] == "end" for message in seen) <= answered:
                return
            reply = reply_for(methods[answered], replies[answered])
            answered += 1
            for piece in pieces(reply, cuts):
                play.reply(piece)

    for piece in pieces(b"".join(requests) + broken, cuts):
        play.send(piece)
        serve()
    refusal = b""
    if broken:
        status = play.received.rfind(b"HTTP/1.1 400")
        refusal = play.received[status:].split(b"\r\n")[0]
        play.received = play.received[:status]
        assert refusal
        assert play.half_closed
    # The upstream may have received a part of the broken request.
    up = read(h11.CLIENT, b"".join(play.upstreams), methods + ([b"POST"] if broken else []))
    down = read(h11.SERVER, play.received, methods)
    counts = [(e.status, e.code, e.bytes_in, e.bytes_out) for e in play.policy.closed]
    return up, down, counts, refusal


@settings(max_examples=300, deadline=None)
@given(
    exchanges=st.lists(st.tuples(st.sampled_from(REQUESTS), st.sampled_from(REPLIES)), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 2000), max_size=60),
    broken=st.one_of(st.just(b""), st.sampled_from(BROKEN)),
)
def test_any_split_and_any_join_give_the_same_result(exchanges, cuts, broken):
    requests = [request for request, _ in exchanges]
    replies = [reply for _, reply in exchanges]
    whole = run(requests, replies, [], broken)
    assert run(requests, replies, cuts, broken) == whole
    assert sum(message[0] == "end" for message in whole[1]) == len(requests)


def test_byte_by_byte():
    requests, replies = REQUESTS, REPLIES
    whole = run(requests, replies, [], b"")
    assert run(requests, replies, list(range(2000)), b"") == whole
    assert [message[0] for message in whole[0]].count("end") == len(requests)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), prefix=st.sampled_from([b"", *(raw[:-4] for raw in REQUESTS)]))
def test_no_client_bytes_cause_an_internal_error(data, prefix):
    play = Playbook().send(prefix + data)
    assert b"500 Internal" not in play.received


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), prefix=st.sampled_from([b"", *(raw[:-3] for raw in REPLIES)]))
def test_no_upstream_bytes_cause_an_internal_error(data, prefix):
    play = Playbook().send(REQUESTS[0])
    play.reply(prefix + data) if prefix + data else None
    play.upstream_hangs_up()
    assert b"500 Internal" not in play.received
    assert play.policy.closed

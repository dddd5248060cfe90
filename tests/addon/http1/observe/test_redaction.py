"""Redaction of recorded exchanges, in linear time for any input."""

import gzip
import time

import pytest

from addon.http1.observe.redaction import MAX_DECOMPRESSED_BYTES, Redactor

OURS = "Ab-_" * 16
ESCAPED = "".join(f"%{ord(letter):02x}" for letter in OURS)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJodXNoIjoxfQ.hush_hush"
REDACTOR = Redactor(["pin"])


def body(content: str | bytes, kind: str = "", coding: str = "", *, is_cut: bool = False) -> str | None:
    raw = content.encode() if isinstance(content, str) else content
    shown = REDACTOR.body(raw, kind=kind.encode(), coding=coding.encode(), is_cut=is_cut)
    return None if shown is None else shown.decode()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ('{"password": "hush", "name": "alice"}', '{"password": "[redacted]", "name": "alice"}'),
        ('{"tokens": ["hush", "hush2"], "a": 1}', '{"tokens": "[redacted]", "a": 1}'),
        ('{"credentials": {"u": {"v": "hush"}}, "b": "ok"}', '{"credentials": "[redacted]", "b": "ok"}'),
        ('{"name": "token", "value": "hush", "n": 1}', '{"name": "token", "value": "[redacted]", "n": 1}'),
        ('[["Cookie", "hush"], ["A", "ok"]]', '[["Cookie", "[redacted]"], ["A", "ok"]]'),
        ('{"pass\\u0077ord": "hush", "x": 1}', '{"pass\\u0077ord": "[redacted]", "x": 1}'),
        ('{"x": "{\\"pin\\": \\"hush\\"}"}', '{"x": "{\\"pin\\": \\"[redacted]\\"}"}'),
        ('{"secret": 12345, "b": 2}', '{"secret":"[redacted]", "b": 2}'),
        ('{"a": 1, "token": "hu', '{"a": 1, "token": "[redacted]"'),
        ('{"a": {"otp": ["hush", {"b": 1', '{"a": {"otp": "[redacted]"'),
        ('{"url": "http://a/?ticket=hush&x=ok"}', '{"url": "http://a/?ticket=[redacted]&x=ok"}'),
        (f'{{"x": "{OURS}"}}', '{"x": "[masked]"}'),
        (')]}\',\n{"key": "hush"}', ')]}\',\n{"key": "[redacted]"}'),
        ("a=1&pass%77ord=hush&b=2", "a=1&pass%77ord=[redacted]&b=2"),
        ("password: hush, all of it\nok=1", "password: [redacted]\nok=1"),
        ("var token = ['hush']\nok", "var token = [redacted]\nok"),
        ("<password>hush</password><x>ok</x>", "<password>[redacted]</password><x>ok</x>"),
        ("<credentials><v>hush</v></credentials>ok", "<credentials>[redacted]</credentials>ok"),
        ('<input name="csrf_token" value="hush"><b>ok</b>', "<input [redacted]>[redacted]<b>ok</b>"),
        (f"Bearer {JWT} ok", "Bearer [masked] ok"),
        ("ftp://me:hush@host/x", "ftp://[masked]@host/x"),
        ("-----BEGIN RSA PRIVATE KEY-----\nhush-hush\n-----END", "[masked]-----END"),
    ],
)
def test_a_body_is_redacted(sent: str, shown: str) -> None:
    assert body(sent) == shown


def test_a_form_a_compressed_body_and_a_truncated_one() -> None:
    assert (
        body("u=http%3A%2F%2Fq%2F%3Fticket%3Dhush&a=b%20c", "application/x-www-form-urlencoded")
        == "u=[redacted]&a=b%20c"
    )
    assert (
        body(gzip.compress(b'{"key": "hush", "n": 1}'), "application/json", "gzip") == '{"key": "[redacted]", "n": 1}'
    )
    bomb = body(gzip.compress(b"x " * 10_000_000), "text/plain", "gzip")
    assert bomb is not None
    assert len(bomb) <= MAX_DECOMPRESSED_BYTES
    assert body(f'{{"a": "{OURS[:50]}', is_cut=True) == '{"a": "'
    torn = "Grü".encode()[:-1]
    assert REDACTOR.body(torn, kind=b"text/plain", coding=b"", is_cut=True) is not None


@pytest.mark.parametrize(
    ("sent", "kind", "coding"),
    [
        (b"x", "image/png", ""),
        (b"--a\r\nContent-Disposition: form-data; name=pin\r\n\r\nhush", "multipart/form-data; boundary=a", ""),
        (b"hush", "application/x-pkcs12", ""),
        (b"hush", "text/plain", "br"),
        (b"not gzip", "text/plain", "gzip"),
        (b"p\0i\0n\0=\0h\0", "text/plain", ""),
        (b"\xff\xfe\xff", "", ""),
    ],
)
def test_a_body_that_is_not_text_is_not_shown(sent: bytes, kind: str, coding: str) -> None:
    assert body(sent, kind, coding) is None


def test_paths_queries_and_headers_are_redacted() -> None:
    target = REDACTOR.target
    assert target(f"/x/{OURS}/y?token=hush&a=b&{OURS}".encode()) == b"/x/[masked]/y?token=[redacted]&a=b&[masked]"
    assert target(f"/x/{ESCAPED}?q={ESCAPED}".encode()) == b"[masked]?q=[redacted]"
    assert target(f"/x/{ESCAPED.replace('%', '%25')}".encode()) == b"[masked]"
    assert target(b"/a;session=hush/b?c") == b"/a;session=[redacted]?c"
    lines = [
        (b"cookie", b"Cookie", b"a=hush"),
        (b"authorization", b"Authorization", b"Basic hush"),
        (b"x-access-token", b"X-Access-Token", b"hush"),
        (b"set-cookie", b"Set-Cookie", b"hush=1"),
        (b"referer", b"Referer", b"http://a/?ticket=hush&x=1"),
        (b"x-pin", b"X-Pin", b"hush"),
        (b"accept", b"Accept", b"text/html, */*;q=0.8"),
    ]
    shown = dict(REDACTOR.headers(lines))
    assert b"hush" not in b"".join(shown.values())
    assert shown[b"Referer"] == b"http://a/?ticket=[redacted]&x=1"
    assert shown[b"Accept"] == b"text/html, */*;q=0.8"


@pytest.mark.parametrize(
    "piece",
    [b"a", b"a=", b'"', b"[", b"<", b"<token>", b"%25", b"-----BEGIN ", b"://", b"eyJ.", b"a ", b"\\", b'"a" :', b"a%"],
)
def test_redaction_takes_linear_time(piece: bytes) -> None:
    sizes = {}
    for size in (4_000, 32_000):
        text = (piece * size)[:size]
        began = time.process_time()
        REDACTOR.target(b"/" + text + b"?" + text)
        for form in (text, b"{" + text, b'{"x":"' + text, b"<a " + text):
            body(form)
            body(form, "application/x-www-form-urlencoded")
        sizes[size] = time.process_time() - began
    assert sizes[32_000] < 1 + 20 * sizes[4_000]

"""Redacts secrets in headers, targets and bodies of recorded exchanges. Pure functions, linear in their input.

A value is hidden because of its name (`password=`, `"token":`, `<secret>`), or because it has the form of a secret of
this service. When in doubt it is hidden: a body that is not text or has an unknown content coding is not shown at all.
"""

import json
import re
import zlib
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from addon.http1.messages.heads import Header

REDACTED = b"[redacted]"
MASKED = b"[masked]"
# Parts of names whose values are hidden.
SENSITIVE_NAME_PARTS = r"pass|pwd|token|secret|key|ticket|cookie|auth|session|signature|credential|jwt|otp|code"
# JSON strings may contain JSON, and escapes may be escaped again; values nested deeper are hidden as a whole.
MAX_NESTING = 3
# Nothing shorter has the form of a secret.
MIN_SECRET_LENGTH = 16
# How much of a compressed body is shown.
MAX_DECOMPRESSED_BYTES = 16 * 1024
_NAME = rb"[\w.%\[\]-]"
# A name up to its value; never tried from the middle of a name, so that a long one is scanned once.
_PAIR = re.compile(rb"(?<!%b)(%b++)([\"'\\]*+\s*+[=:]\s*+)" % (_NAME, _NAME))
_VALUE = re.compile(rb"\"(?:[^\"\\]|\\.)*+\"?|'(?:[^'\\]|\\.)*+'?|[\[{\\][^\r\n]*+|[^&;\r\n\"'<>]*+", re.DOTALL)
_STRING = rb'"(?:[^"\\]|\\.)*+"'
# A name, a string that may be truncated, an opening, a closing bracket, and anything else.
_JSON = re.compile(rb"(%b)(?=\s*+:)|(%b?)|([\[{])|([\]}])|([:,]|[^\"\[\]{}:,]++)" % (_STRING, _STRING), re.DOTALL)
_TAG = re.compile(rb"<([\w:.-]++)([^<>]*+)>?")
_JSON_NAME = re.compile(rb'"[\w.-]{1,64}"')
# Tokens, cookies and tickets of this service have 64 such characters; a JWT is recognised by its beginning.
_SECRET = re.compile(rb"[\w-]{64,}|eyJ[\w-]++\.[\w-]++\.[\w-]*+")
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[^-]|-(?!----))*+")
_USER_INFO = re.compile(rb"(?<=://)[^/?#\s@\"'<>]++@")
# Bytes that are cut from the end of a truncated body, where they may be the beginning of a secret.
_TOKEN_BYTES = bytes({*b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.%+/="})
_IS_TEXT = re.compile(r"text/|application/(.*\+)?(json|xml|javascript|x-www-form-urlencoded|x-ndjson)$", re.ASCII)
_FORM = "application/x-www-form-urlencoded"
# Before JSON: a byte order mark, and prefixes against inclusion by a script tag.
_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n)]}',"


class Redactor:
    """Hides values whose names contain one of the usual parts, or one of `more`."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        words = [SENSITIVE_NAME_PARTS, *(re.escape(word) for word in more if word)]
        self._secret_names = re.compile("|".join(words).encode(), re.IGNORECASE)

    def is_secret_name(self, name: bytes) -> bool:
        """Return whether a name, escaped or not, is that of a secret."""
        plain = unescape(name)
        return plain is None or self._secret_names.search(plain) is not None

    def headers(self, items: Iterable[Header]) -> list[tuple[bytes, bytes]]:
        """Return redacted header lines."""
        return [(name, REDACTED if self.is_secret_name(lower) else self.text(value)) for lower, name, value in items]

    def target(self, target: bytes) -> bytes:
        """Return a redacted path with its query."""
        path, mark, query = target.partition(b"?")
        shown = self._form(path)
        return (MASKED if _hides_a_secret(shown) else shown) + mark + self._form(query)

    def body(self, body: bytes, *, kind: bytes, coding: bytes, is_cut: bool) -> bytes | None:
        """Return a redacted body or the beginning of one; None when nothing of it may be shown.

        `kind` and `coding` are its Content-Type and Content-Encoding.
        """
        media = kind.decode("latin-1").partition(";")[0].strip().lower()
        plain, is_whole = _decompress(body, coding.strip().lower())
        if media and not _IS_TEXT.match(media):
            return None
        if is_cut or not is_whole:
            plain = plain.rstrip(_TOKEN_BYTES)
        if b"\0" in plain or not _is_utf8(plain) or (body and not plain):
            return None
        start = plain.lstrip(_BEFORE_JSON)
        if start.startswith((b"{", b"[", b'"')):
            return plain[: len(plain) - len(start)] + self._json(start)
        return self._form(plain) if media == _FORM else self.text(plain)

    def text(self, text: bytes) -> bytes:
        """Return a text without the values of secret names, in any notation: headers, scripts, XML."""
        return _mask(self._pairs(self._tags(text)) if b"<" in text else self._pairs(text))

    def _pairs(self, text: bytes) -> bytes:
        out, at = [], 0
        while found := _PAIR.search(text, at):
            out.append(text[at : found.end()])
            at = found.end()
            if self.is_secret_name(found[1]):
                value = _VALUE.match(text, at)
                at = value.end() if value else at
                out.append(REDACTED)
        return b"".join((*out, text[at:]))

    def _tags(self, text: bytes) -> bytes:
        """Hide the content of elements with a secret name or attribute."""
        out, at = [], 0
        while found := _TAG.search(text, at):
            name, attributes = found[1], found[2]
            out.append(text[at : found.start()])
            at = found.end()
            if self.is_secret_name(name):
                end = text.find(b"</" + name, at)
                at = len(text) if end < 0 else end
                out.append(b"<%b>%b" % (name, REDACTED))
            elif self._secret_names.search(attributes):
                end = text.find(b"<", at)
                at = len(text) if end < 0 else end
                out.append(b"<%b %b>%b" % (name, REDACTED, REDACTED))
            else:
                out.append(found[0])
        return b"".join((*out, text[at:]))

    def _form(self, form: bytes) -> bytes:
        """Hide the values of a query or a form."""
        pieces = re.split(rb"([&;])", form)
        for index, piece in enumerate(pieces):
            name, mark, value = piece.partition(b"=")
            if mark:
                pieces[index] = _mask(name) + mark + (REDACTED if self.is_secret_name(name) else self._value(value))
            else:
                pieces[index] = _mask(piece)
        return b"".join(pieces)

    def _value(self, value: bytes) -> bytes:
        """Hide a secret in an escaped value, such as a URL with its own query, or JSON."""
        plain = unescape(value)
        if plain is None:
            return REDACTED
        shown = self.text(plain)
        return value if shown == plain else shown if plain == value else REDACTED

    def _json(self, text: bytes, depth: int = 0) -> bytes:
        """Hide the values of secret names in JSON, complete or truncated, with everything nested in them.

        A secret name that is a value may name the next value: `["Cookie", "…"]`, `{"name": "pin", "value": "…"}`.
        """
        out: list[bytes] = []
        hides, inside = False, 0
        for token in _JSON.finditer(text):
            name, string, opening, closing, other = token.groups()
            if inside:
                inside += bool(opening) - bool(closing)
                continue
            if name:
                hides = hides or self.is_secret_name(_json_value(name))
            elif hides and (string or opening or other.strip(b" \t\r\n:,") if not closing else b""):
                out.append(b'"%b"' % REDACTED)
                hides, inside = False, int(bool(opening))
                continue
            elif opening or closing:
                hides = False
            elif string:
                hides = self._is_name(string)
                string = self._string(string, depth)
            out.append(string or token[0])
        return b"".join(out)

    def _is_name(self, string: bytes) -> bool:
        return _JSON_NAME.fullmatch(string) is not None and self.is_secret_name(string)

    def _string(self, string: bytes, depth: int) -> bytes:
        """Hide the secrets in a JSON string, which may contain JSON itself."""
        if b"\\" not in string:
            return self.text(string)
        plain = _json_value(string)
        if plain == string or depth == MAX_NESTING:  # Truncated, or nested too deeply.
            return b'"%b"' % REDACTED
        shown = self._json(plain, depth + 1) if plain.lstrip()[:1] in {b"{", b"["} else self.text(plain)
        return string if shown == plain else json.dumps(shown.decode("utf-8", "replace")).encode()


def _json_value(string: bytes) -> bytes:
    """Return the value of a JSON string; the string itself when it is malformed."""
    try:
        value = json.loads(string)
    except ValueError:
        return string
    return value.encode("utf-8", "replace") if isinstance(value, str) else string


def unescape(text: bytes) -> bytes | None:
    """Undo percent-encoding, also repeated; return None when it is nested deeper than `MAX_NESTING`."""
    for _ in range(MAX_NESTING):
        plain = unquote_to_bytes(text) if b"%" in text else text
        if plain == text:
            return text
        text = plain
    return None


def _mask(text: bytes) -> bytes:
    """Mask all text that has the form of a secret."""
    if b"-----BEGIN" in text:
        text = _PRIVATE_KEY.sub(MASKED, text)
    if b"://" in text:
        text = _USER_INFO.sub(MASKED + b"@", text)
    return _SECRET.sub(MASKED, text) if len(text) >= MIN_SECRET_LENGTH else text


def _hides_a_secret(text: bytes) -> bool:
    """Return whether a text contains a secret that is percent-encoded."""
    plain = unescape(text)
    return plain is None or (plain != text and _mask(plain) != plain)


def _decompress(body: bytes, coding: bytes) -> tuple[bytes, bool]:
    """Return the decompressed body and whether it is complete; empty for an unknown content coding."""
    if coding in {b"", b"identity"}:
        return body, True
    if coding not in {b"gzip", b"x-gzip", b"deflate"}:
        return b"", False
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        return unpacking.decompress(body, MAX_DECOMPRESSED_BYTES), unpacking.eof
    except zlib.error:
        return b"", False


def _is_utf8(text: bytes) -> bool:
    """Return whether a text is UTF-8; its last character may be truncated."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True

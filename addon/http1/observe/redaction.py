"""Takes every secret out of what is shown of an exchange. Pure functions, linear in what they read.

What counts is the name beside a value (`password=`, `"token":`, `<secret>`), and the shape of our own secrets wherever
they stand. It errs on the side of hiding: whatever cannot be read as text, or was compressed in a way that is not
known here, is not shown at all.
"""

import json
import re
import zlib
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from addon.http1.messages.head_parser import Header

REDACTED = b"[redacted]"
MASKED = b"[masked]"
# Parts of names whose values nobody may see.
SENSITIVE_NAME_PARTS = r"pass|pwd|token|secret|key|ticket|cookie|auth|session|signature|credential|jwt|otp|code"
# JSON within a string within JSON: deeper than this it is hidden as a whole.
MAX_NESTING = 3
# Nothing shorter has the shape of a secret.
MIN_SECRET_LENGTH = 16
# So much of a compressed body is shown.
MAX_DECOMPRESSED_BYTES = 16 * 1024
_NAME = rb"[\w.%\[\]-]"
# A name up to its value; never tried from the middle of a name, so that a long one is read once.
_PAIR = re.compile(rb"(?<!%b)(%b++)([\"'\\]*+\s*+[=:]\s*+)" % (_NAME, _NAME))
_VALUE = re.compile(rb"\"(?:[^\"\\]|\\.)*+\"?|'(?:[^'\\]|\\.)*+'?|[\[{\\][^\r\n]*+|[^&;\r\n\"'<>]*+", re.DOTALL)
_STRING = rb'"(?:[^"\\]|\\.)*+"'
# A name, a string that may be cut off, an opening, a closing, and all else.
_JSON = re.compile(rb"(%b)(?=\s*+:)|(%b?)|([\[{])|([\]}])|([:,]|[^\"\[\]{}:,]++)" % (_STRING, _STRING), re.DOTALL)
_TAG = re.compile(rb"<([\w:.-]++)([^<>]*+)>?")
_WORD = re.compile(rb'"[\w.-]{1,64}"')
# Our tokens, cookies and tickets have 64 such characters; the three parts of a JWT are shorter, but begin alike.
_SECRET = re.compile(rb"[\w-]{64,}|eyJ[\w-]++\.[\w-]++\.[\w-]*+")
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[^-]|-(?!----))*+")
_USER_INFO = re.compile(rb"(?<=://)[^/?#\s@\"'<>]++@")
# Where a body was cut off, what stands at its end may be the beginning of a secret.
_TORN = bytes({*b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.%+/="})
_IS_TEXT = re.compile(r"text/|application/(.*\+)?(json|xml|javascript|x-www-form-urlencoded|x-ndjson)$", re.ASCII)
_FORM = "application/x-www-form-urlencoded"
# Before JSON: a byte order mark, and what keeps a script tag from reading it.
_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n)]}',"


class Redactor:
    """Knows which names are those of secrets: the usual ones, and `more`."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        words = [SENSITIVE_NAME_PARTS, *(re.escape(word) for word in more if word)]
        self._telling = re.compile("|".join(words).encode(), re.IGNORECASE)

    def is_secret_name(self, name: bytes) -> bool:
        """Say whether a name is that of a secret, however it is escaped."""
        plain = unescape(name)
        return plain is None or self._telling.search(plain) is not None

    def headers(self, items: Iterable[Header]) -> list[tuple[bytes, bytes]]:
        """Return header lines as they may be shown."""
        return [(name, REDACTED if self.is_secret_name(lower) else self.text(value)) for lower, name, value in items]

    def target(self, target: bytes) -> bytes:
        """Return a path with its query as it may be shown."""
        path, mark, query = target.partition(b"?")
        shown = self._form(path)
        return (MASKED if _hides_a_secret(shown) else shown) + mark + self._form(query)

    def body(self, body: bytes, *, kind: bytes, coding: bytes, is_cut: bool) -> bytes | None:
        """Return a body as it may be shown, or the beginning of one; None where nothing of it may.

        `kind` and `coding` are its Content-Type and Content-Encoding.
        """
        media = kind.decode("latin-1").partition(";")[0].strip().lower()
        plain, is_whole = _uncompressed(body, coding.strip().lower())
        if media and not _IS_TEXT.match(media):
            return None
        if is_cut or not is_whole:
            plain = plain.rstrip(_TORN)
        if b"\0" in plain or not _is_utf8(plain) or (body and not plain):
            return None
        start = plain.lstrip(_BEFORE_JSON)
        if start.startswith((b"{", b"[", b'"')):
            return plain[: len(plain) - len(start)] + self._json(start)
        return self._form(plain) if media == _FORM else self.text(plain)

    def text(self, text: bytes) -> bytes:
        """Return a text without the values of telling names, whatever writes them so: headers, scripts, XML."""
        return _masked(self._pairs(self._tags(text)) if b"<" in text else self._pairs(text))

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
        """Hide what stands in telling elements, and behind telling attributes."""
        out, at = [], 0
        while found := _TAG.search(text, at):
            name, attributes = found[1], found[2]
            out.append(text[at : found.start()])
            at = found.end()
            if self.is_secret_name(name):
                end = text.find(b"</" + name, at)
                at = len(text) if end < 0 else end
                out.append(b"<%b>%b" % (name, REDACTED))
            elif self._telling.search(attributes):
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
                pieces[index] = _masked(name) + mark + (REDACTED if self.is_secret_name(name) else self._value(value))
            else:
                pieces[index] = _masked(piece)
        return b"".join(pieces)

    def _value(self, value: bytes) -> bytes:
        """Hide a secret within a value that is escaped: an address with a query of its own, or JSON."""
        plain = unescape(value)
        if plain is None:
            return REDACTED
        shown = self.text(plain)
        return value if shown == plain else shown if plain == value else REDACTED

    def _json(self, text: bytes, depth: int = 0) -> bytes:
        """Hide the values of telling names in JSON, whole or cut off, with all that lies in them.

        A telling word that is a value itself may name the next one: `["Cookie", "…"]`, `{"name": "pin", "value": "…"}`.
        """
        out: list[bytes] = []
        hides, inside = False, 0
        for token in _JSON.finditer(text):
            name, string, opening, closing, other = token.groups()
            if inside:
                inside += bool(opening) - bool(closing)
                continue
            if name:
                hides = hides or self.is_secret_name(_unescaped(name))
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
        return _WORD.fullmatch(string) is not None and self.is_secret_name(string)

    def _string(self, string: bytes, depth: int) -> bytes:
        """Hide the secrets within a string of JSON, which may hold JSON itself."""
        if b"\\" not in string:
            return self.text(string)
        plain = _unescaped(string)
        if plain == string or depth == MAX_NESTING:  # it was cut off, or is a maze
            return b'"%b"' % REDACTED
        shown = self._json(plain, depth + 1) if plain.lstrip()[:1] in {b"{", b"["} else self.text(plain)
        return string if shown == plain else json.dumps(shown.decode("utf-8", "replace")).encode()


def _unescaped(string: bytes) -> bytes:
    """Return what a string of JSON says; the string itself when it says nothing."""
    try:
        said = json.loads(string)
    except ValueError:
        return string
    return said.encode("utf-8", "replace") if isinstance(said, str) else string


def unescape(text: bytes) -> bytes | None:
    """Take off the escapes of an address, and those below them; None for what is escaped again and again."""
    for _ in range(MAX_NESTING):
        plain = unquote_to_bytes(text) if b"%" in text else text
        if plain == text:
            return text
        text = plain
    return None


def _masked(text: bytes) -> bytes:
    """Hide what has the shape of a secret."""
    if b"-----BEGIN" in text:
        text = _PRIVATE_KEY.sub(MASKED, text)
    if b"://" in text:
        text = _USER_INFO.sub(MASKED + b"@", text)
    return _SECRET.sub(MASKED, text) if len(text) >= MIN_SECRET_LENGTH else text


def _hides_a_secret(text: bytes) -> bool:
    """Say whether there is a secret in a text once its escapes are taken off."""
    plain = unescape(text)
    return plain is None or (plain != text and _masked(plain) != plain)


def _uncompressed(body: bytes, coding: bytes) -> tuple[bytes, bool]:
    """Return what was compressed, and whether that is all of it; nothing when the way is not known."""
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
    """Say whether a text can be read; its last character may be torn."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True

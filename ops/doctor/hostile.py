"""What somebody would send who wants ZNC that he has not paid for, or an error that tells him something."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from models.payments import Payment
from ops.doctor.callbacks import CUT_OFF, Headers, Voice, words_of

REFUSED, ANSWERED = frozenset({400}), frozenset({200})
TOO_LARGE = frozenset({413, CUT_OFF})
# A stale signature is one of five minutes by default; a day is stale under any setting that makes sense.
DAY = 24 * 3600
LARGE = 256 * 1024
FOREIGN_KEY = "a key that somebody else has made up"


@dataclass(frozen=True, slots=True)
class Try:
    """One hostile callback, and the statuses that are an answer to it.

    One that the provider itself could have sent `is_kept`, for a review: it must move nothing.
    """

    what: str
    body: bytes
    headers: Headers
    wanted: frozenset[int] = REFUSED
    method: str = "POST"
    chunked: bool = False
    is_kept: bool = False


def tries(voice: Voice, payment: Payment) -> Iterator[Try]:
    """Go through what must be refused, most of it about a payment that really waits."""
    body = voice.body(words_of(payment, "succeeded"))
    yield from _badly_signed(voice, body)
    yield from _about_something_else(voice, payment)
    yield from _garbage(voice)
    large = b" " * LARGE + body
    yield Try("an oversize callback is refused", large, voice.signed(large), TOO_LARGE)
    what = "an oversize callback that does not say how large it is, is refused"
    yield Try(what, large, voice.signed(large), TOO_LARGE | REFUSED, chunked=True)
    yield Try(
        "a callback that is only looked at does nothing", body, voice.signed(body), frozenset({405}), method="GET"
    )


def _badly_signed(voice: Voice, body: bytes) -> Iterator[Try]:
    right = voice.signed(body)[voice.header]
    stamp, _, signature = right.removeprefix("t=").partition(",v1=")
    signatures = {
        "without a signature": None,
        "with an empty signature": "",
        "with no digits in the signature's time": f"t=now,v1={signature}",
        "with a signature cut short": right[:-1],
        "with a signature that is no ASCII": f"t={stamp},v1=\u00e9\u00e9",
        "with another time than was signed": f"t={int(stamp) + 1},v1={signature}",
        "with a time of forty digits": f"t={'9' * 40},v1={signature}",
    }
    for what, value in signatures.items():
        yield Try(f"a callback {what} is refused", body, {} if value is None else {voice.header: value})
    yield Try("a wrongly signed callback is refused", body, voice.signed(body, key=FOREIGN_KEY))
    yield Try("a stale callback is refused", body, voice.signed(body, age=DAY))
    yield Try("a callback from the future is refused", body, voice.signed(body, age=-DAY))
    yield Try("a body that was changed after signing is refused", body + b" ", {voice.header: right})


def _about_something_else(voice: Voice, payment: Payment) -> Iterator[Try]:
    lies: dict[str, dict[str, Any]] = {
        "over a larger amount": {"amount_rub": payment.amount_rub * 100},
        "over a smaller amount": {"amount_rub": payment.amount_rub / 100},
        "over nothing": {"amount_rub": payment.amount_rub * 0},
        "over less than nothing": {"amount_rub": -payment.amount_rub},
        "in another currency": {"currency": "USD"},
    }
    for what, lie in lies.items():
        body = voice.body(words_of(payment, "succeeded", **lie))
        yield Try(f"a signed callback {what} is reviewed", body, voice.signed(body), ANSWERED, is_kept=True)
    for what, name in {"that is not known": voice.name_payment(), "by our own id of it": str(payment.id)}.items():
        body = voice.body(words_of(payment, "succeeded", payment=name))
        yield Try(f"a signed callback about a payment {what} is ignored", body, voice.signed(body), ANSWERED)
    foreign = yookassa_body(payment)
    yield Try("a foreign provider's words, rightly signed, are refused", foreign, voice.signed(foreign))


def _garbage(voice: Voice) -> Iterator[Try]:
    bodies = {
        "an empty body": b"",
        "half a JSON": b'{"id": ',
        "a list": b"[]",
        "null": b"null",
        "a number of a thousand digits": b"9" * 1000,
        "brackets within brackets": b"[" * 20000,
        "no UTF-8": b"\xff\xfe\x00{",
        "everything null": json.dumps(dict.fromkeys(("id", "event", "type", "payment", "data", "object"))).encode(),
    }
    for what, body in bodies.items():
        yield Try(f"{what}, rightly signed, is refused", body, voice.signed(body))


def yookassa_body(payment: Payment) -> bytes:
    """Return the callback that YooKassa would send for a payment that was made."""
    amount = {"value": f"{payment.amount_rub:.2f}", "currency": "RUB"}
    about = {"id": str(payment.provider_payment_id), "status": "succeeded", "paid": True, "amount": amount}
    return json.dumps({"type": "notification", "event": "payment.succeeded", "object": about}).encode()


def pretended_addresses(address: str) -> dict[str, Headers]:
    """Return the headers by which somebody pretends to call from `address`, by what that is called."""
    named = ("X-Forwarded-For", "X-Real-IP", "Forwarded")
    return {
        f"with the provider's address in {name}": {name: f"for={address}" if name == "Forwarded" else address}
        for name in named
    }

"""The claims of docs/webhooks.md hold: its snippet accepts our signatures and nothing else."""

import base64
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models import clock
from models.config.settings import Settings
from models.notification_preferences import TOPICS
from models.services.webhooks import signing

DOCS = Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"
Verify = Callable[[str, dict[str, str], bytes], bool]


@pytest.fixture(scope="module")
def verify() -> Verify:
    """The snippet's function, as a reader would copy it."""
    snippet = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert snippet is not None
    names: dict[str, Verify] = {}
    exec(snippet[1], names)  # noqa: S102 - our own documentation
    return names["verify"]


def signed(secret: bytes, moment: datetime) -> tuple[dict[str, str], bytes]:
    """Return headers and body as they are sent."""
    key = str(uuid.uuid4())
    body = signing.body_of(key, "bonus", moment, {"name": "Ноутбук"})
    return signing.headers(secret, key, body, moment), body


def test_the_snippet_accepts_what_we_sign(verify: Verify) -> None:
    secret = signing.new_secret()
    headers, body = signed(secret, clock.now())
    assert verify(signing.mask_secret(secret), headers, body)
    assert verify(
        signing.mask_secret(secret), {**headers, "webhook-signature": f"v1,x {headers['webhook-signature']}"}, body
    )


def test_the_snippet_refuses_changed_replayed_and_foreign_requests(verify: Verify) -> None:
    secret, now = signing.new_secret(), clock.now()
    headers, body = signed(secret, now)
    shown = signing.mask_secret(secret)
    assert not verify(signing.mask_secret(signing.new_secret()), headers, body)
    assert not verify(shown, headers, body + b" ")
    for name, value in (
        ("webhook-id", str(uuid.uuid4())),
        ("webhook-timestamp", str(int(time.time()) + 1)),
        ("webhook-timestamp", "x"),
        ("webhook-signature", ""),
    ):
        assert not verify(shown, {**headers, name: value}, body)
    assert not verify(shown, {}, body)
    for moment in (now - timedelta(minutes=6), now + timedelta(minutes=6)):
        assert not verify(shown, *signed(secret, moment))


def test_the_signature_is_that_of_the_open_standard() -> None:
    """The example used by the tests of the Standard Webhooks libraries."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    moment = datetime.fromtimestamp(1614265330, UTC)
    headers = signing.headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', moment)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_every_type_and_setting_is_documented(settings: Settings) -> None:
    text = DOCS.read_text()
    assert [kind for kind in TOPICS if f"`{kind}`" not in text] == []
    for name, value in settings.webhooks.model_dump().items():
        shown = str(value).lower() if isinstance(value, bool) else f"{value:g}"
        assert f"| `webhooks.{name}` | {shown} |" in text

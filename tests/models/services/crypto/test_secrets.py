"""Token secrets carry a MAC, and the database never sees them."""

import base64
import uuid

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.orm import Session

from models.config.server import Tokens
from models.config.settings import Settings
from models.services.actor import PLATFORM
from models.services.crypto import secrets
from models.services.gateway import token_lookup
from models.services.tokens import purchase as token_purchase
from models.users import User

OLD, NEW = "an old mac key of ours", "the newest mac key of ours"


def keys(*macs: str, hash_key: str = "a hash key for these tests") -> Tokens:
    """Settings with these MAC keys, newest first."""
    return Tokens(hash_key=SecretStr(hash_key), mac_keys=SecretStr(",".join(macs)))


def test_a_secret_is_64_url_safe_characters_and_genuine() -> None:
    secret = secrets.new_secret(keys(NEW))
    assert len(secret) == 64
    assert set(secret) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert secrets.is_genuine(keys(NEW), secret)


def test_no_two_secrets_are_alike() -> None:
    assert len({secrets.new_secret(keys(NEW)) for _ in range(100)}) == 100


def test_an_old_key_still_verifies_and_the_newest_signs() -> None:
    before = secrets.new_secret(keys(OLD))
    assert secrets.is_genuine(keys(NEW, OLD), before)
    assert not secrets.is_genuine(keys(NEW), before)
    assert secrets.is_genuine(keys(NEW), secrets.new_secret(keys(NEW, OLD)))


@pytest.mark.parametrize("position", [0, 8, 31, 52, 53, 54, 63])
def test_a_changed_character_anywhere_is_detected(position: int) -> None:
    secret = secrets.new_secret(keys(NEW))
    other = "A" if secret[position] != "A" else "B"
    assert not secrets.is_genuine(keys(NEW), secret[:position] + other + secret[position + 1 :])


@pytest.mark.parametrize(
    "made_up",
    [
        *("", "x", "A" * 63, "A" * 64, "A" * 65, "=" * 64, "A" * 63 + "=", "A" * 63 + "\n", "A" * 62 + "\r\n"),
        *("ä" * 64, "\ud800" * 64, " " + "A" * 63, "\uff21" * 64, "A" * 60 + "\x00\x00\x00\x00"),
    ],
)
def test_a_forged_secret_is_refused_without_an_exception(made_up: str) -> None:
    assert not secrets.is_genuine(keys(NEW), made_up)


def test_a_secret_has_one_spelling() -> None:
    genuine = next(s for s in iter(lambda: secrets.new_secret(keys(NEW)), None) if "-" in s or "_" in s)
    plain = base64.b64encode(base64.urlsafe_b64decode(genuine)).decode()
    assert plain != genuine
    assert not secrets.is_genuine(keys(NEW), plain)
    assert not secrets.is_genuine(keys(NEW), genuine + "\n")


def test_the_stored_hash_is_keyed() -> None:
    secret = secrets.new_secret(keys(NEW))
    stored = secrets.hash_of(keys(NEW), secret)
    assert len(stored) == 32
    assert stored == secrets.hash_of(keys(OLD), secret)
    assert stored != secrets.hash_of(keys(NEW, hash_key="another hash key entirely"), secret)


def test_the_secret_is_nowhere_in_the_database(session: Session, alice: User, settings: Settings) -> None:
    _token, secret = token_purchase.purchase(
        session, alice, hours=1, scope="full", name="", settings=settings, actor=PLATFORM, token_id=uuid.uuid4()
    )
    session.flush()
    raw = base64.urlsafe_b64decode(secret)
    for table in session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all():
        for row in session.scalars(text(f'SELECT t::text FROM "{table}" AS t')):
            assert secret not in row
            assert raw.hex() not in row
            assert secret[8:24] not in row
    found = token_lookup.find(session, secrets.hash_of(settings.tokens, secret))
    assert found is not None
    assert found.prefix == secret[:8]

"""An encrypted secret can be decrypted with its own key, purpose and owner only."""

import uuid

import pytest
from pydantic import SecretStr

from models.config.settings import Settings
from models.services.crypto import encryption
from models.services.crypto.encryption import DecryptionError, Purpose

SECRET = b"a secret that must be read again"


def test_a_secret_is_decrypted_unchanged_and_never_stored_in_plain_text(settings: Settings) -> None:
    owner = uuid.uuid4()
    sealed = [encryption.encrypt(settings.portal, SECRET, purpose=Purpose.WEBHOOK, owner=owner) for _ in range(2)]
    assert sealed[0] != sealed[1]
    for one in sealed:
        assert SECRET not in one
        assert encryption.decrypt(settings.portal, one, purpose=Purpose.WEBHOOK, owner=owner) == SECRET


def test_a_secret_cannot_be_decrypted_in_another_row_or_for_another_purpose(settings: Settings) -> None:
    owner = uuid.uuid4()
    sealed = encryption.encrypt(settings.portal, SECRET, purpose=Purpose.TOTP, owner=owner)
    with pytest.raises(DecryptionError):
        encryption.decrypt(settings.portal, sealed, purpose=Purpose.TOTP, owner=uuid.uuid4())
    with pytest.raises(DecryptionError):
        encryption.decrypt(settings.portal, sealed, purpose=Purpose.WEBHOOK, owner=owner)


def test_a_secret_of_another_key_or_a_changed_one_is_refused(settings: Settings) -> None:
    owner = uuid.uuid4()
    sealed = encryption.encrypt(settings.portal, SECRET, purpose=Purpose.TOTP, owner=owner)
    other = settings.portal.model_copy(update={"secret_key": SecretStr("another key of the portal")})
    with pytest.raises(DecryptionError):
        encryption.decrypt(other, sealed, purpose=Purpose.TOTP, owner=owner)
    for damaged in (b"", sealed[:5], sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), b"\x02" + sealed[1:]):
        with pytest.raises(DecryptionError):
            encryption.decrypt(settings.portal, damaged, purpose=Purpose.TOTP, owner=owner)

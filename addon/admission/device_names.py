"""Names of client devices (`X-Device-ID`): allowed length, and the name under which a device is stored."""

from addon.admission.credentials import may_contain_secret
from models.config.server import Tokens
from models.services.crypto import secrets

DEVICE_LENGTH = range(8, 256)


def stored_device_name(keys: Tokens, sent: str) -> str:
    """Return the name as sent, or a keyed hash of a name that may contain a secret."""
    if len(sent) not in DEVICE_LENGTH or not may_contain_secret(sent):
        return sent
    # The prefix keeps this hash apart from that of a token's secret, should the name be one.
    return f"hashed-{secrets.hash_of(keys, f'device:{sent}').hex()[:40]}"

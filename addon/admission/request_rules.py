"""Steps 5 and 6 of admission: the device header and the scope. Pure functions, called in this order."""

from addon.admission.credentials import may_contain_secret
from addon.admission.refusals import refuse
from addon.admission.request_attributes import RequestAttributes
from addon.http1.decisions import Refuse
from models.config.server import Tokens
from models.services.crypto import secrets
from models.services.gateway import request_paths
from models.services.gateway.scopes import Scope
from models.services.gateway.token_lookup import TokenSnapshot
from models.services.message_catalogue import PATH_FAULTS

DEVICE_LENGTH = range(8, 256)


def effective_device(snapshot: TokenSnapshot, attributes: RequestAttributes) -> str | None:
    """Return the device that asks. A browser's cookie is a device by itself, whatever `X-Device-ID` came with it."""
    return snapshot.own_device or attributes.device


def stored_device_name(tokens: Tokens, sent: str) -> str:
    """Return the name under which a device is kept: what it sent, or a keyed hash where that may be a secret."""
    if len(sent) not in DEVICE_LENGTH or not may_contain_secret(sent):
        return sent
    # Not the hash under which a token is stored, should the device's name be one.
    return f"hashed-{secrets.hash_of(tokens, f'device:{sent}').hex()[:40]}"


def check_device(policy: str, device: str | None) -> Refuse | None:
    """Say what is wrong with the device header under a device policy."""
    if device is None:
        return refuse("device_missing") if policy == "required" else None
    if policy != "off" and len(device) not in DEVICE_LENGTH:
        return refuse("device_invalid")
    return None


def check_scope(scope: Scope | None, attributes: RequestAttributes) -> Refuse | None:
    """Say why a scope does not grant a request; an unknown scope grants nothing."""
    if scope is None:
        return refuse("scope_denied")
    if scope.is_unrestricted:
        return None
    fault = request_paths.strict_path_fault(attributes.path)
    if fault is not None:
        return refuse("bad_request", PATH_FAULTS[fault])
    return None if scope.allows(attributes.method, request_paths.decoded_segments(attributes.path)) else refuse("scope_denied")

"""Checks of the device header and of the token's scope: steps 5 and 6 of docs/spec/http.md#order-of-checks."""

from addon.admission.device_names import DEVICE_LENGTH
from addon.admission.refusals import refuse
from addon.admission.request_attributes import RequestAttributes
from addon.http1.decisions import Refuse
from models.services.gateway import request_paths
from models.services.gateway.scopes import Scope
from models.services.gateway.token_lookup import TokenSnapshot
from models.services.message_catalogue import PATH_FAULTS


def effective_device(snapshot: TokenSnapshot, attributes: RequestAttributes) -> str | None:
    """Return the device of a request; a browser access cookie is a device itself and overrides `X-Device-ID`."""
    return snapshot.own_device or attributes.device


def check_device(policy: str, device: str | None) -> Refuse | None:
    """Return how a request is refused for its device header under a device policy, None if it is not."""
    if device is None:
        return refuse("device_missing") if policy == "required" else None
    if policy != "off" and len(device) not in DEVICE_LENGTH:
        return refuse("device_invalid")
    return None


def check_scope(scope: Scope | None, attributes: RequestAttributes) -> Refuse | None:
    """Return how a request outside a scope is refused, None within it; an unknown scope grants nothing."""
    if scope is None:
        return refuse("scope_denied")
    if scope.is_unrestricted:
        return None
    fault = request_paths.strict_path_fault(attributes.path)
    if fault is not None:
        return refuse("bad_request", PATH_FAULTS[fault])
    is_granted = scope.allows(attributes.method, request_paths.decoded_segments(attributes.path))
    return None if is_granted else refuse("scope_denied")

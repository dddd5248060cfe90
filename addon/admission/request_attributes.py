"""Attributes of a request that admission decides on, read from its head: credential, device, method and path."""

from typing import NamedTuple

from addon.admission.credentials import Credential, cookie_value, find_credential, mask_secret_shapes
from addon.admission.device_names import stored_device_name
from addon.http1.decisions import Peer
from addon.http1.messages.heads import RequestHead
from models.config.server import Tokens


class RequestAttributes(NamedTuple):
    """What the gate decides on. `path` is the raw path without prefix and query; `address` the client's."""

    address: str
    method: str
    path: bytes
    credential: Credential | None
    device: str | None
    user_agent: str = ""


class ParsedCredentials(NamedTuple):
    """The header lines that identify a client, parsed once for all requests that repeat them byte for byte."""

    credential: Credential | None
    device: str | None
    user_agent: str


class AttributeReader:
    """Reads the attributes of requests; `cookie` is the name of the browser access cookie."""

    def __init__(self, keys: Tokens, cookie: str) -> None:
        self._keys = keys
        self._cookie = cookie.encode()

    def read(self, request: RequestHead, peer: Peer) -> RequestAttributes:
        """Return the attributes of a request; `request.headers` keeps the parsed credentials."""
        credentials = request.headers.credentials
        if not isinstance(credentials, ParsedCredentials):
            request.headers.credentials = credentials = self._parse_credentials(request)
        return RequestAttributes(peer.address, request.method, request.path, *credentials)

    def credential(self, request: RequestHead) -> Credential | None:
        """Return the credential of a request, if it has one."""
        headers = request.headers
        access_token, authorization = headers.get(b"x-access-token"), headers.get(b"authorization")
        return find_credential(
            None if access_token is None else access_token.decode("latin-1"),
            None if authorization is None else authorization.decode("latin-1"),
            cookie_value(headers.all(b"cookie"), self._cookie) if b"cookie" in headers.first else None,
        )

    def _parse_credentials(self, request: RequestHead) -> ParsedCredentials:
        device = request.headers.get(b"x-device-id")
        agent = request.headers.get(b"user-agent")
        return ParsedCredentials(
            self.credential(request),
            None if device is None else stored_device_name(self._keys, device.decode("latin-1")),
            "" if agent is None else mask_secret_shapes(agent.decode("utf-8", "replace")),
        )

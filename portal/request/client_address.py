"""WSGI middleware: the client's address in one form for limits, logs, the ops networks and payment callbacks."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from models.addresses import parse_hop


class ClientAddress:
    """Rewrites REMOTE_ADDR after ProxyFix has set it: without a port or zone, and mapped IPv4 as IPv4.

    A value that is no address (such as `unknown`) stays as it is: it is in no network and shares one limit.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        address = parse_hop(environ.get("REMOTE_ADDR") or "")
        if address is not None:
            environ["REMOTE_ADDR"] = str(address)
        return self._app(environ, start_response)

"""Read-only mitmweb: no listener, replay, scripts, files or options.

A user of stock mitmweb may set any option, including `scripts`, and so run code on the machine. Here they can only
look at flows and clear the list.
"""

from typing import Any

import argon2
import tornado.web
from mitmproxy import options
from mitmproxy.tools.web import app
from mitmproxy.tools.web.master import WebMaster
from redis.asyncio import Redis
from tornado.httputil import HTTPServerRequest

from models.config.settings import Settings
from ops.inspect.flow_feed import FlowFeed
from ops.processes.ports import LOOPBACK

# The addons that show flows, and those that they depend on.
ADDONS = frozenset(
    {"core", "proxyserver", "view", "comment", "cut", "export", "intercept", "webaddon", "webauth", "eventstore"}
)
# POST is allowed for the login form and the button that clears the list.
POST_PATHS = frozenset({"/", "/clear"})
# Pages about the machine.
FORBIDDEN_PATHS = frozenset({"/processes", "/executable-icon"})
# Other Host names are rejected, against DNS rebinding.
OWN_NAMES = frozenset({LOOPBACK, "localhost", "[::1]"})


class ReadOnly(app.Application):
    """mitmweb's pages and API, for reading only."""

    def find_handler(self, request: HTTPServerRequest, **more: Any) -> Any:
        """Reject requests that write, and foreign Host names."""
        reads = request.method in {"GET", "HEAD"} or (request.method == "POST" and request.path in POST_PATHS)
        name = request.host.rpartition(":")[0] if not request.host.endswith("]") else request.host
        if not reads or request.path in FORBIDDEN_PATHS or (name or request.host) not in OWN_NAMES:
            return self.get_handler_delegate(request, tornado.web.ErrorHandler, {"status_code": 403})
        return super().find_handler(request, **more)


class Viewer(WebMaster):
    """mitmweb on loopback, fed from Redis; only a hash of its password is kept."""

    def __init__(self, settings: Settings, *, port: int, password: str) -> None:
        super().__init__(options.Options(mode=[]), with_termlog=False)
        # No addon runs yet, so none has to be stopped.
        self.addons.lookup = {name: addon for name, addon in self.addons.lookup.items() if name in ADDONS}
        self.addons.chain = list(self.addons.lookup.values())
        self.options.update(
            web_host=LOOPBACK,
            web_port=port,
            web_open_browser=False,
            web_password=argon2.PasswordHasher().hash(password),
            view_order="time",
        )
        self.app = ReadOnly(self, False)
        self.addons.add(FlowFeed(Redis.from_url(settings.redis.url), self.view, settings.inspection))

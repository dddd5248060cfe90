"""mitmweb without everything that acts: no listener, no replay, no scripts, no files, nothing that can be set.

Whoever is logged in to a stock mitmweb may set any of its options, `scripts` among them, and so run anything on its
machine. Here he can look, and clear the list.
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

# Of mitmweb's addons, those that show and those that the others cannot do without.
ADDONS = frozenset(
    {"core", "proxyserver", "view", "comment", "cut", "export", "intercept", "webaddon", "webauth", "eventstore"}
)
# What may be sent: the login form, and the button that clears the list.
POST_PATHS = frozenset({"/", "/clear"})
# What tells of the machine and not of flows.
FORBIDDEN_PATHS = frozenset({"/processes", "/executable-icon"})
# A page elsewhere whose name leads here must not be let in, whatever it knows.
OWN_NAMES = frozenset({LOOPBACK, "localhost", "[::1]"})


class ReadOnly(app.Application):
    """mitmweb's pages and its API, for reading."""

    def find_handler(self, request: HTTPServerRequest, **more: Any) -> Any:
        """Refuse what does not read."""
        reads = request.method in {"GET", "HEAD"} or (request.method == "POST" and request.path in POST_PATHS)
        name = request.host.rpartition(":")[0] if not request.host.endswith("]") else request.host
        if not reads or request.path in FORBIDDEN_PATHS or (name or request.host) not in OWN_NAMES:
            return self.get_handler_delegate(request, tornado.web.ErrorHandler, {"status_code": 403})
        return super().find_handler(request, **more)


class Viewer(WebMaster):
    """mitmweb on loopback, with a password that is only kept as a hash, fed from Redis."""

    def __init__(self, settings: Settings, *, port: int, password: str) -> None:
        super().__init__(options.Options(mode=[]), with_termlog=False)
        # None of them runs yet, so that nothing has to be ended.
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

"""Steps of a browser at the login endpoint."""

import re
from urllib.parse import urlencode

from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.tokens import browser_access
from tests.addon.conftest import Owned
from tests.addon.processes import Proxy, Reply

ENTER = "/_zenzefi/enter"


def ticket_for(factory: Sessions, settings: Settings, owned: Owned) -> str:
    """Issue a ticket as the portal does."""
    with factory.begin() as session:
        return browser_access.issue_ticket(session, owned.user, owned.token.id, settings=settings, actor=PLATFORM)


def submit_ticket(proxy: Proxy, ticket: str, **headers: str) -> Reply:
    """Send the form of the confirmation page; by default with a browser's headers."""
    sent = {
        "Content_Type": "application/x-www-form-urlencoded",
        "Sec_Fetch_Site": "same-origin",
        "Origin": "null",
        **headers,
    }
    body = urlencode({"ticket": ticket}).encode()
    return proxy.request("POST", ENTER, body=body, headers={name: value for name, value in sent.items() if value})


def cookie_of(reply: Reply) -> str:
    """Return the cookie that the browser sends from now on."""
    assert reply.status == 303, reply.body
    return reply.headers["Set-Cookie"].partition(";")[0]


def log_in(proxy: Proxy, factory: Sessions, settings: Settings, owned: Owned, **headers: str) -> str:
    """Log in with a new ticket and return the cookie."""
    return cookie_of(submit_ticket(proxy, ticket_for(factory, settings, owned), **headers))


def shown_ticket(page: Reply) -> str:
    """Return the ticket in the form of the confirmation page."""
    found = re.search(rb'name="ticket" value="([A-Za-z0-9_-]{64})"', page.body)
    assert found is not None, page.body
    return found[1].decode()

"""Browser login at `/_zenzefi/enter`: redeems a one-time ticket for the browser access cookie.

See docs/spec/http.md#browser-access. A GET shows a confirmation page and does not redeem the ticket, because mail
scanners and link previews fetch links. Only the form of that page redeems it.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs

from addon.admission.credentials import cookie_name, cookie_value, mask_secret_shapes
from addon.admission.refusals import refuse
from addon.browser_access import pages
from addon.http1.decisions import Decision, Defer, Local, Peer
from addon.http1.messages.heads import RequestHead
from addon.http1.policy_interface import Question
from addon.token_cache.database import DatabaseUnavailable, TokenDatabase
from models.audit import Origin
from models.config.settings import Settings
from models.services.actor import Actor
from models.services.crypto import secrets
from models.services.crypto.secrets import Purpose
from models.services.errors import TicketRefused
from models.services.gateway.scopes import compile_all

BODY_BYTES = 4096
FORM = b"application/x-www-form-urlencoded"
# A ticket that was found invalid stays invalid: this many are cached and not looked up again.
MAX_INVALID_TICKETS = 10_000


@dataclass(frozen=True, slots=True)
class ConfirmationRequest:
    """Deferred: the link was opened."""

    ticket: str


@dataclass(frozen=True, slots=True)
class RedemptionRequest:
    """Deferred: the form was sent; the ticket is in the request body."""


class BrowserAccessEndpoint:
    """The browser login endpoint of one worker."""

    def __init__(self, settings: Settings, database: TokenDatabase) -> None:
        self._settings = settings
        self._database = database
        # The cookie is `Secure` where its name requires it (`__Host-`).
        self._secure = settings.platform.is_production
        self.cookie = cookie_name(production=self._secure)
        self._first_pages = {name: scope.first_page for name, scope in compile_all(settings.scopes).items()}
        self._invalid_tickets: dict[bytes, None] = {}

    def admit(self, request: RequestHead, peer: Peer) -> Decision | Defer:
        """Refuse forms of other sites; defer everything else, because it may need a look-up."""
        if request.method != "POST":
            return Defer(policy_data=ConfirmationRequest(_ticket(request.query)))
        if not self._is_own_form(request, peer):
            return refuse("cross_site")
        if (request.headers.get(b"content-type") or b"").partition(b";")[0].strip().lower() != FORM:
            return refuse("bad_request", "The ticket comes in a form.")
        return Defer(body_bytes=BODY_BYTES, policy_data=RedemptionRequest())

    async def confirm(self, question: Question, confirmation: ConfirmationRequest) -> Decision:
        """Return the confirmation page; the ticket stays valid."""
        ticket_hash = self._ticket_hash(confirmation.ticket)
        try:
            prefix = None if ticket_hash is None else await self._database.prefix_of_ticket(ticket_hash)
        except DatabaseUnavailable:
            return refuse("unavailable", retry_after=5)
        if prefix is None:
            return self._expired_page(question, ticket_hash)
        return _page(200, pages.confirmation_page(confirmation.ticket, prefix, _languages(question.request)))

    async def redeem(self, question: Question) -> Decision:
        """Redeem the ticket, set the cookie and redirect to the first page of the token's scope."""
        ticket_hash = self._ticket_hash(_ticket(question.body))
        if ticket_hash is None:
            return self._expired_page(question)
        agent = mask_secret_shapes((question.request.headers.get(b"user-agent") or b"").decode("utf-8", "replace"))
        actor = Actor(None, question.peer.address, agent, question.exchange.request_id, Origin.PROXY)
        try:
            login = await self._database.redeem(ticket_hash, actor, self._present_cookie_hash(question.request))
        except TicketRefused:
            return self._expired_page(question, ticket_hash)
        except DatabaseUnavailable:
            return refuse("unavailable", retry_after=5)
        location = self._first_pages.get(login.scope, "/")
        secure = "; Secure" if self._secure else ""
        cookie = f"{self.cookie}={login.secret}; Path=/; Max-Age={login.seconds}; HttpOnly; SameSite=Lax{secure}"
        return Local(
            303, content_type="text/html", headers=(*pages.HEADERS, ("Location", location), ("Set-Cookie", cookie))
        )

    def _is_own_form(self, request: RequestHead, peer: Peer) -> bool:
        """Return whether the form was sent from our own page, against login CSRF.

        Browsers send Sec-Fetch-Site to HTTPS and loopback only. To plain HTTP elsewhere, which production refuses, they
        send an Origin, which is `null` because of our page's referrer policy.
        """
        site = request.headers.get(b"sec-fetch-site")
        if site is not None:
            return site == b"same-origin"
        origin = (request.headers.get(b"origin") or b"").decode("latin-1")
        host = (request.host or b"").decode("latin-1")
        if origin == "null":
            return not self._secure and peer.scheme == "http"
        return origin in {self._settings.proxy.address, f"{peer.scheme}://{host}"}

    def _present_cookie_hash(self, request: RequestHead) -> bytes | None:
        """Return the hash of the browser access cookie that the browser already has, if it is genuine."""
        secret = cookie_value(request.headers.all(b"cookie"), self.cookie.encode()) or ""
        if not secrets.is_genuine(self._settings.tokens, secret, Purpose.COOKIE):
            return None
        return secrets.hash_of(self._settings.tokens, secret, Purpose.COOKIE)

    def _ticket_hash(self, ticket: str) -> bytes | None:
        """Return the hash of a ticket that may be valid; None for a made-up one or one that was found invalid."""
        if not secrets.is_genuine(self._settings.tokens, ticket, Purpose.TICKET):
            return None
        ticket_hash = secrets.hash_of(self._settings.tokens, ticket, Purpose.TICKET)
        return None if ticket_hash in self._invalid_tickets else ticket_hash

    def _expired_page(self, question: Question, ticket_hash: bytes | None = None) -> Local:
        if ticket_hash is not None:
            self._invalid_tickets[ticket_hash] = None
            if len(self._invalid_tickets) > MAX_INVALID_TICKETS:
                del self._invalid_tickets[next(iter(self._invalid_tickets))]
        portal_url, request_id = self._settings.portal.address, question.exchange.request_id
        return _page(410, pages.expired_page(portal_url, request_id, _languages(question.request)))


def _ticket(fields: bytes | None) -> str:
    """Return the one ticket in a query or a form; empty when there is none, or more than one."""
    try:
        found = parse_qs((fields or b"").decode("ascii"), max_num_fields=8).get("ticket", [])
    except ValueError:
        return ""
    return found[0] if len(found) == 1 else ""


def _languages(request: RequestHead) -> str:
    return (request.headers.get(b"accept-language") or b"").decode("latin-1")


def _page(status: int, body: bytes) -> Local:
    return Local(status, body, "text/html; charset=utf-8", pages.HEADERS)

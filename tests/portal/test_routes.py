"""Every route responds to the users it is for; access by others is tested in tests/abuse/portal."""

import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.routing import Rule

from models import clock
from models.api_keys import KeyScope
from models.bundles import Bundle
from models.config.settings import Settings
from models.email_links import EmailLink, LinkPurpose
from models.gift_codes import GiftCode
from models.ledger import Transfer
from models.logins import LoginKind
from models.outbox import OutboxMail
from models.payments import Payment
from models.services.accounts import api_keys, email_links, logins
from models.services.actor import PLATFORM, Actor
from models.services.gateway import sessions
from models.services.notifications import preferences as notification_preferences
from models.services.payments import callbacks
from models.users import User
from tests.factories import buy, decided, top_up
from tests.models.services.tokens.test_bundles_and_coupons import coupon, gift
from tests.portal import admin_helpers
from tests.portal.conftest import Browser
from tests.portal.views.shop.test_webhooks import hook

# Open to visitors; every other route needs a login.
OPEN = {
    "static",
    "pages.landing",
    "pages.preferences",
    "pages.favicon",
    "pages.robots",
    "development.styleguide",
    "development.error",
    "accounts.register",
    "accounts.login",
    "accounts.code",
    "links.forgot",
    "links.confirm_again",
    "links.follow",
    "links.reset",
    "links.confirm",
    "links.finish_login",
    "mock_checkout.checkout",
    "mock_checkout.decide",
    "health.health",
    "metrics.show",
    "announcements.put_away",
    "health.detailed",
    "payment_callbacks.receive",
    "docs.openapi",
    "docs.swagger",
    "docs.redoc",
    "docs.asset",
    "unsubscribe.ask",
    "unsubscribe.act",
}

# Signed requests need no cookie, and so no CSRF token: payment callbacks, and links in e-mails.
SIGNED = {"payment_callbacks.receive", "unsubscribe.act"}

# Arguments that identify something with an owner.
OWNED = {"token_id", "session_id", "payment_id", "transfer_id", "login_id", "key_id", "endpoint_id"}


@dataclass
class Shop:
    """One object of each kind, all owned by alice."""

    user: User
    token_id: uuid.UUID
    session_id: uuid.UUID
    payment: Payment
    event_id: uuid.UUID
    offers: tuple[uuid.UUID, uuid.UUID, uuid.UUID]
    transfer_id: uuid.UUID
    login_id: uuid.UUID
    key_id: uuid.UUID
    link: str = "x"
    admin_area: dict[str, Any] = field(default_factory=lambda: dict(admin_helpers.NOTHING))
    mail_id: uuid.UUID = field(default_factory=uuid.uuid4)
    signed: str = "x"
    hook: tuple[uuid.UUID, uuid.UUID] = field(default_factory=lambda: (uuid.uuid4(), uuid.uuid4()))

    def path(self, rule: Rule) -> str:
        """Return a rule's path with these ids as arguments."""
        values = {
            "token_id": self.token_id,
            "session_id": self.session_id,
            "payment_id": self.payment.id,
            "checkout_id": self.payment.provider_payment_id,
            "user_id": self.user.id,
            "payer_id": self.user.id,
            "event_id": self.event_id,
            "reversal_id": uuid.UUID(int=0),
            "transfer_id": self.transfer_id,
            "login_id": self.login_id,
            "key_id": self.key_id,
            "secret": self.link,
            "mail_id": self.mail_id,
            "signed": self.signed,
            "endpoint_id": self.hook[0],
            "delivery_id": self.hook[1],
            "kind": "welcome",
            "lang": "en",
            "month": f"{clock.now():%Y-%m}",
            "bundle_id": self.offers[0],
            "coupon_id": self.offers[1],
            "gift_id": self.offers[2],
            "provider": "mock",
            "status": "404",
            "filename": "css/swagger-ui.css" if rule.endpoint == "docs.asset" else "css/tokens.css",
            "reader": "swagger",
            **self.admin_area,
        }
        path = rule.rule
        for name in rule.arguments:
            path = path.replace(f"<uuid:{name}>", str(values[name])).replace(f"<path:{name}>", str(values[name]))
            path = path.replace(f"<{name}>", str(values[name])).replace(f"<int:{name}>", str(values[name]))
        assert "<" not in path
        return path


@pytest.fixture
def shop(session: Session, alice: User, settings: Settings) -> Shop:
    ours = admin_helpers.one_of_each(session, alice, settings)
    token = buy(session, alice, settings)
    # A previous secret in its grace period, which has its own page.
    token.previous_hash, token.previous_until = secrets.token_bytes(32), clock.now() + timedelta(hours=1)
    opened = sessions.start_session(
        session, token.id, device="a" * 20, rules=settings.sessions, actor=Actor(alice.id, "::1")
    )
    payment = top_up(session, alice, settings)
    event_id = callbacks.store_event(session, "mock", decided(session, payment, settings))
    assert event_id is not None
    bundle = session.scalars(select(Bundle).limit(1)).one()
    made = coupon(session, alice)
    gift(session, alice, settings)
    offers = (bundle.id, made.id, session.scalars(select(GiftCode.id)).one())
    facts = {"kind": LoginKind.API, "lifetime": timedelta(hours=1)}
    other_login = logins.begin(session, alice, actor=Actor(alice.id, "::1"), **facts)
    read = {"name": "Script", "scope": KeyScope.READ, "days": None, "settings": settings, "actor": Actor(alice.id)}
    key = api_keys.create(session, alice, **read)[0]
    email_links.request_link(session, LinkPurpose.RESET_PASSWORD, alice.email, settings=settings, actor=PLATFORM)
    email_links.send_requested(session)
    link = email_links.secret_of(settings, session.scalars(select(EmailLink.id)).one())
    session.commit()
    return Shop(
        alice,
        token.id,
        opened.id,
        payment,
        event_id,
        offers,
        session.scalars(select(Transfer.id)).first() or uuid.uuid4(),
        other_login.id,
        key.id,
        link,
        ours,
        mail_id=session.scalars(select(OutboxMail.id)).first() or uuid.uuid4(),
        signed=(notification_preferences.unsubscribe_path(settings.portal, alice.id, "bonus") or "").rpartition("/")[2],
        hook=hook(session, alice, settings),
    )


def pages(app: Flask) -> Iterator[Rule]:
    """Return the routes for browsers; tests/abuse/portal/test_every_route.py covers those of the JSON API."""
    return (rule for rule in app.url_map.iter_rules() if not rule.endpoint.startswith("api_"))


def rules(app: Flask, method: str) -> Iterator[Rule]:
    return (rule for rule in pages(app) if method in (rule.methods or ()))


def test_pages_accept_only_get_and_post(app: Flask) -> None:
    assert {method for rule in pages(app) for method in rule.methods or ()} <= {
        "GET",
        "HEAD",
        "OPTIONS",
        "POST",
    }


def test_every_page_responds_to_its_owner_with_security_headers(app: Flask, shop: Shop, as_alice: Browser) -> None:
    _check_pages(app, shop, as_alice, lambda rule: not rule.rule.startswith("/admin"))


def test_every_admin_page_responds_to_an_admin(app: Flask, shop: Shop, as_dana: Browser) -> None:
    _check_pages(app, shop, as_dana, lambda rule: rule.rule.startswith("/admin"))


def _check_pages(app: Flask, shop: Shop, browser: Browser, wanted) -> None:  # type: ignore[no-untyped-def]
    for rule in filter(wanted, rules(app, "GET")):
        path = "/x" if rule.rule == "//health" else shop.path(rule)
        answer = browser.get(path, environ_overrides={"PATH_INFO": shop.path(rule)})
        assert (rule.rule, answer.status_code) in {(rule.rule, 200), (rule.rule, 302)}
        assert len(answer.headers["X-Request-ID"]) == 32
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if answer.mimetype == "text/html" and answer.status_code == 200:
            assert answer.text.count("<h1") == 1, rule.rule
            assert " style=" not in answer.text
            assert " onclick" not in answer.text
            assert "<script>" not in answer.text
            if not rule.endpoint.startswith(("mock_checkout.", "docs.")):
                assert answer.headers["Cache-Control"] == "no-store", rule.rule


def test_an_unknown_id_is_404(app: Flask, shop: Shop, as_dana: Browser, session: Session) -> None:
    nothing = Shop(
        User(id=uuid.uuid4()),
        uuid.uuid4(),
        uuid.uuid4(),
        Payment(id=uuid.uuid4(), provider_payment_id=uuid.uuid4()),
        uuid.uuid4(),
        (uuid.uuid4(), uuid.uuid4(), uuid.uuid4()),
        uuid.uuid4(),
        uuid.uuid4(),
        uuid.uuid4(),
    )
    for rule in pages(app):
        if rule.arguments & {
            *(name for name in admin_helpers.NOTHING if name.endswith("_id")),
            "token_id",
            "payment_id",
            "checkout_id",
            "user_id",
            "event_id",
            "bundle_id",
            "coupon_id",
            "gift_id",
            "login_id",
            "key_id",
            "mail_id",
            "endpoint_id",
            "delivery_id",
        }:
            if "POST" in (rule.methods or ()):
                answer = as_dana.post(
                    nothing.path(rule),
                    outcome="pay",
                    amount="1",
                    reason="reason",
                    note="note",
                    key=str(uuid.uuid4()),
                    purchase_id=str(uuid.uuid4()),
                )
            else:
                answer = as_dana.get(nothing.path(rule))
            assert (rule.rule, answer.status_code) == (rule.rule, 404)
    assert session.scalar(select(Payment.id)) == shop.payment.id


@pytest.mark.parametrize("page", ["0", "-1", "x", "1e9", "99999999999999999999999999"])
def test_an_invalid_page_number_is_not_an_error(as_dana: Browser, page: str) -> None:
    for path in ("/tokens", "/wallet", "/admin/users", "/admin/audit", "/admin/sessions", "/admin/payments"):
        assert as_dana.get(path, query_string={"page": page}).status_code == 200

"""Buying, the secret shown once, the token's page, revoking."""

import re
import uuid
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.browser_access import AccessTicket
from models.bundles import Bundle
from models.config.settings import Settings
from models.proxy_sessions import ProxySession
from models.services.actor import PLATFORM, Actor
from models.services.crypto import secrets
from models.services.gateway import sessions, usage_counts
from models.services.ledger import adjustments
from models.services.settings import overrides
from models.services.tokens import browser_access
from models.users import User
from tests.conftest import Clock
from tests.factories import balance, buy
from tests.models.services.payments.test_reversals import paid, said
from tests.portal.conftest import Browser, attribute, text_of

ROOT = Path(__file__).resolve().parents[4]


def order(**changes: str) -> dict[str, str]:
    return {"duration_hours": "24", "scope": "full", "name": "Laptop", "token_id": str(uuid.uuid4()), **changes}


def count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(AccessToken)) or 0


def test_a_bought_token_is_paid_for_and_its_secret_shown_once(
    as_alice: Browser, alice: User, session: Session, settings: Settings
) -> None:
    answer = as_alice.post("/tokens/buy", **order())
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    secret = re.search(r'data-testid="secret"[^>]*>([^<]+)<', answer.text)
    assert secret is not None
    assert secrets.is_genuine(settings.tokens, secret[1])
    curl = re.search(r'data-testid="curl"[^>]*>([^<]+)<', answer.text)
    assert curl is not None
    command = curl[1].replace("&#34;", '"')
    assert command == f'curl -H "X-Access-Token: {secret[1]}" {settings.proxy.address}/'
    token = session.scalars(select(AccessToken)).one()
    assert token.secret_hash == secrets.hash_of(settings.tokens, secret[1])
    assert balance(session, alice) == 82
    assert attribute(answer, "balance", "data-amount") == "82.00"
    for path in ("/tokens", f"/tokens/{token.id}", "/wallet", "/dashboard"):
        assert secret[1] not in as_alice.get(path).text
    with as_alice.client.session_transaction() as session_:
        assert secret[1] not in str(dict(session_))


def test_the_same_form_sent_twice_buys_once(as_alice: Browser, alice: User, session: Session) -> None:
    form = order()
    as_alice.post("/tokens/buy", **form)
    answer = as_alice.post("/tokens/buy", **form)
    assert (answer.status_code, answer.location) == (303, f"/tokens/{form['token_id']}")
    assert "was not charged twice" in as_alice.flashes()
    assert (count(session), balance(session, alice)) == (1, 82)


def test_the_id_of_another_users_token_buys_nothing(
    as_charlie: Browser, as_alice: Browser, alice: User, session: Session
) -> None:
    form = order()
    as_alice.post("/tokens/buy", **form)
    answer = as_charlie.post("/tokens/buy", **form)
    assert as_charlie.get(answer.location).status_code == 404
    assert count(session) == 1


def test_a_buyer_short_of_money_is_led_to_a_top_up_and_back(as_charlie: Browser, session: Session) -> None:
    answer = as_charlie.post("/tokens/buy", **order(duration_hours="168", scope="certificates_only"))
    assert answer.status_code == 402
    assert "100.00 ZNC required" in answer.text
    link = re.search(r'href="([^"]+)" data-testid="top-up-link"', answer.text)
    assert link is not None
    wallet = as_charlie.get(link[1].replace("&amp;", "&"))
    assert 'value="100.00"' in wallet.text
    back = re.search(r'name="next"[^>]*value="(/tokens/buy[^"]*)"', wallet.text)
    assert back is not None
    form = as_charlie.get(back[1].replace("&amp;", "&"))
    assert re.search(r'value="168"[^>]*checked', form.text)
    assert re.search(r'value="certificates_only" checked', form.text)
    assert 'value="Laptop"' in form.text
    assert count(session) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"duration_hours": "5"},
        {"duration_hours": "-1"},
        {"duration_hours": "x"},
        {"duration_hours": "9" * 30},
        {"scope": "root"},
        {"name": "x" * 51},
        {"token_id": "no id"},
        {"token_id": ""},
    ],
)
def test_a_duration_that_is_not_for_sale_is_refused_with_a_message(
    as_alice: Browser, alice: User, session: Session, changes: dict[str, str]
) -> None:
    answer = as_alice.post("/tokens/buy", **order(**changes))
    assert answer.status_code == 400
    assert text_of(answer, "field-error")
    assert (count(session), balance(session, alice)) == (0, 100)


def test_the_page_of_a_token_shows_remaining_time_and_sessions_exactly(
    as_alice: Browser, alice: User, session: Session, settings: Settings, time: Clock
) -> None:
    token = buy(session, alice, settings, name="Laptop")
    opened = sessions.start_session(
        session, token.id, device="d" * 20, rules=settings.sessions, actor=Actor(alice.id, "203.0.113.7", "curl/8.5")
    )
    usage_counts.add_counts(session, [usage_counts.SessionCounts(opened.id, 1234567, 3, 209715200, time())])
    session.commit()
    time.advance(hours=6)
    page = as_alice.get(f"/tokens/{token.id}")
    assert 'data-bytes="209715200"' in page.text
    assert 'title="209,715,200 bytes"' in page.text
    assert 'data-bytes="3"' in page.text
    assert 'data-count="1234567"' in page.text
    assert "200.0 MiB" in page.text
    assert 'data-countdown="64800"' in page.text
    assert 'width="250.0"' in page.text
    assert attribute(page, "refund", "data-amount") == "13.50"
    assert "203.0.113.7" in page.text


def test_revoking_shows_the_refund_before_and_pays_it(
    as_alice: Browser, alice: User, session: Session, settings: Settings, time: Clock
) -> None:
    token = buy(session, alice, settings)
    sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=Actor(alice.id))
    session.commit()
    time.advance(hours=12)
    confirm = as_alice.get(f"/tokens/{token.id}/revoke")
    assert attribute(confirm, "refund", "data-amount") == "9.00"
    answer = as_alice.post(f"/tokens/{token.id}/revoke")
    assert (answer.status_code, answer.location) == (303, f"/tokens/{token.id}")
    assert "9.00 ZNC refunded" in as_alice.flashes()
    assert balance(session, alice) == 91
    assert attribute(as_alice.get(f"/tokens/{token.id}"), "refunded", "data-amount") == "9.00"


def test_revoking_twice_pays_once(as_alice: Browser, alice: User, session: Session, settings: Settings) -> None:
    token = buy(session, alice, settings)
    session.commit()
    as_alice.post(f"/tokens/{token.id}/revoke")
    as_alice.flashes()
    as_alice.post(f"/tokens/{token.id}/revoke")
    assert "This token is already revoked." in as_alice.flashes()
    assert balance(session, alice) == 100
    assert as_alice.get(f"/tokens/{token.id}/revoke").status_code == 302


def test_with_the_list_rate_the_page_carries_the_prices_to_count_with(
    app: Flask, as_alice: Browser, alice: User, session: Session, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    facts = {"reason": "for a test", "seen": 0, "actor": PLATFORM}
    overrides.change(session, settings, "refund.used_time_rate", value="list", **facts)
    # What counts is the list at the purchase, not the one that is sold by now.
    overrides.change(session, settings, "prices.znc", value={"24": "99"}, **facts)
    session.commit()
    app.extensions["zenzefi-runtime"].forget()
    assert "1:1.00 12:10.00 24:18.00" in attribute(as_alice.get(f"/tokens/{token.id}"), "refund", "data-list")


def test_the_owner_releases_a_device(as_alice: Browser, alice: User, session: Session, settings: Settings) -> None:
    token = buy(session, alice, settings)
    held = sessions.start_session(session, token.id, device="d" * 20, rules=settings.sessions, actor=Actor(alice.id))
    session.commit()
    path = f"/tokens/{token.id}/sessions/{held.id}/release"
    assert path in as_alice.get(f"/tokens/{token.id}").text
    assert as_alice.post(path).status_code == 303
    assert session.get_one(ProxySession, held.id, populate_existing=True).ended_at is not None
    assert as_alice.post(path).status_code == 303
    assert "This session has already ended." in as_alice.flashes()
    other = buy(session, alice, settings)
    session.commit()
    assert as_alice.post(f"/tokens/{other.id}/sessions/{held.id}/release").status_code == 404


def test_no_device_of_a_token_that_has_ended_waits_to_be_released(
    as_alice: Browser, alice: User, session: Session, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    sessions.start_session(session, token.id, device="d" * 20, rules=settings.sessions, actor=Actor(alice.id))
    session.commit()
    as_alice.post(f"/tokens/{token.id}/revoke")
    page = as_alice.get(f"/tokens/{token.id}").text
    assert "/release" not in page
    assert "The token is not locked to a device." in page


def test_opening_in_a_browser_redirects_to_the_proxy_with_a_ticket(
    as_alice: Browser, alice: User, session: Session, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    session.commit()
    page = as_alice.get(f"/tokens/{token.id}")
    form = re.search(rf'<form [^>]*action="/tokens/{token.id}/open"[^>]*>', page.text)
    assert form is not None
    assert {'method="post"', 'target="_blank"', 'rel="noopener"'} <= set(form[0].strip("<>").split())
    # A browser holds the redirect of a form to the policy of the page that it stands on.
    assert f"form-action 'self' {settings.proxy.address};" in page.headers["Content-Security-Policy"]
    assert "form-action 'self';" in as_alice.get("/tokens").headers["Content-Security-Policy"]
    answer = as_alice.post(f"/tokens/{token.id}/open")
    assert answer.status_code == 303
    address, _, ticket = answer.location.partition("?ticket=")
    assert address == f"{settings.proxy.address}/_zenzefi/enter"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    ticket_hash = secrets.hash_of(settings.tokens, ticket, secrets.Purpose.TICKET)
    assert browser_access.grants_access(session, ticket_hash) == token.prefix
    assert token.activated_at is None


def test_an_ended_or_paused_token_cannot_be_opened_in_a_browser(
    as_alice: Browser, alice: User, session: Session, settings: Settings, time: Clock
) -> None:
    ended, paused = buy(session, alice, settings), buy(session, alice, settings)
    paused.activated_at = paused.paused_at = time()
    paused.pause_limit_seconds = 86400
    session.commit()
    as_alice.post(f"/tokens/{ended.id}/revoke")
    for token, sentence in ((ended, "This token is revoked."), (paused, "This token is paused.")):
        assert f"/tokens/{token.id}/open" not in as_alice.get(f"/tokens/{token.id}").text
        answer = as_alice.post(f"/tokens/{token.id}/open")
        assert (answer.status_code, answer.location) == (303, f"/tokens/{token.id}")
        assert sentence in as_alice.flashes()
    assert session.scalar(select(func.count()).select_from(AccessTicket)) == 0


def test_only_the_owner_can_open_a_token_and_the_form_needs_a_csrf_token(
    as_alice: Browser, as_charlie: Browser, alice: User, session: Session, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    session.commit()
    assert as_charlie.post(f"/tokens/{token.id}/open").status_code == 404
    assert as_alice.client.post(f"/tokens/{token.id}/open").status_code == 400
    assert as_alice.get(f"/tokens/{token.id}/open").location == f"/tokens/{token.id}"
    assert session.scalar(select(func.count()).select_from(AccessTicket)) == 0


def test_lists_are_paged(as_alice: Browser, alice: User, session: Session, settings: Settings) -> None:
    for number in range(30):
        buy(session, alice, settings, hours=1, name=f"token {number}")
    session.commit()
    first, second = as_alice.get("/tokens"), as_alice.get("/tokens?page=2")
    assert (first.text.count("data-token="), second.text.count("data-token=")) == (25, 5)
    assert "25 of 30" in first.text
    assert 'rel="next" href="/tokens?page=2"' in first.text
    assert 'rel="prev" href="/tokens?page=1"' in second.text


def test_the_device_limit_is_shown_before_payment(anonymous: Browser, as_alice: Browser, session: Session) -> None:
    """What limits the use of a token has to be known before it is paid for, not in the middle of the paid time."""
    bundle = session.scalars(select(Bundle.id)).first()
    for path in ("/", "/tokens/buy", "/bundles", f"/bundles/{bundle}"):
        page = (anonymous if path == "/" else as_alice).get(path).text
        assert "A token works on one device at a time." in page, path
        assert "after 5 minutes without requests" in page, path


def test_refunds_are_described_in_znc(anonymous: Browser, as_alice: Browser) -> None:
    """ZNC cannot be paid out, so that no page may promise money for time that was not used."""
    anonymous.post("/preferences", lang="ru")
    assert "вернутся в кошелёк" in anonymous.get("/").text
    assert "деньг" not in anonymous.get("/").text.partition("<footer")[0].lower()
    for path in ("/", "/tokens/buy", "/bundles"):
        assert "refunded to your wallet in ZNC" in as_alice.get(path).text
    for readme, promise in (("README.md", "in ZNC"), ("README.ru.md", "возвращается в кошелёк в ZNC")):
        start = (ROOT / readme).read_text().partition("![")[0]
        assert promise in start


def test_the_page_of_a_token_paused_for_a_debt_shows_how_to_resume_it(
    as_alice: Browser, alice: User, session: Session, settings: Settings
) -> None:
    payment = paid(session, alice, settings, "100")
    token = buy(session, alice, settings, hours=168)
    adjustments.adjust(session, alice, amount=-balance(session, alice), reason="spent", actor=PLATFORM)
    said(session, payment, "disputed", "1000", refund_id="d-1")
    session.commit()
    page = as_alice.get(f"/tokens/{token.id}")
    assert "you owe 100.00 ZNC" in page.text
    assert f"/tokens/{token.id}/resume" not in page.text
    assert "/wallet?amount=100.00#top-up" in page.text
    assert "2126" not in page.text, "no end of a pause that has none"

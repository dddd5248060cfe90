"""Admin lists of tokens, sessions, payments and audit entries: filters and CSV."""

import uuid
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import TokenState
from models.audit import AuditAction
from models.config.settings import Settings
from models.gift_codes import GiftCode
from models.outages import Outage
from models.payments import MockCheckout
from models.proxy_sessions import ProxySession
from models.services.actor import Actor
from models.services.admin import lists as admin_lists
from models.services.audit import hash_chain
from models.services.audit import verification as chain_verification
from models.services.gateway import sessions
from models.services.payments.providers import mock
from models.services.promotions import coupons, gift_codes
from models.services.settings import overrides
from models.services.tokens import pause as token_pause
from models.services.tokens import revocation
from models.users import User
from tests.factories import actions, balance, buy, some_bundle, top_up
from tests.portal.conftest import Browser


def open_session(session: Session, user: User, settings: Settings) -> ProxySession:
    token = buy(session, user, settings, hours=1)
    who = Actor(user.id, "203.0.113.7", "=cmd()")
    return sessions.start_session(session, token.id, device="d" * 20, rules=settings.sessions, actor=who)


def test_tokens_are_found_by_state_and_owner(
    as_dana: Browser, alice: User, bob: User, session: Session, settings: Settings
) -> None:
    in_state = {state: buy(session, alice, settings, hours=1) for state in TokenState}
    for state in (TokenState.ACTIVE, TokenState.PAUSED, TokenState.EXPIRED):
        in_state[state].activated_at = clock.now()
    in_state[TokenState.EXPIRED].activated_at = clock.now() - timedelta(hours=2)
    session.flush()
    token_pause.pause(session, alice, in_state[TokenState.PAUSED].id, settings=settings, actor=Actor(alice.id))
    revocation.revoke(session, alice, in_state[TokenState.REVOKED].id, settings=settings, actor=Actor(alice.id))
    buy(session, bob, settings, hours=1)
    session.commit()
    for state, token in in_state.items():
        html = as_dana.get("/admin/tokens", query_string={"state": state.value, "owner": "alice"}).text
        assert (state, html.count("data-token=")) == (state, 1)
        assert str(token.id) in html
        listed = admin_lists.tokens(state=state, user_id=alice.id).rows(session)
        assert [each.id for each in listed] == [token.id]
    assert as_dana.get(f"/admin/tokens?user={bob.id}").text.count("data-token=") == 1
    assert "No tokens match." in as_dana.get("/admin/tokens?owner=nobody%25").text


def test_a_session_is_ended_by_an_admin_and_audited(
    as_dana: Browser, alice: User, session: Session, settings: Settings
) -> None:
    opened = open_session(session, alice, settings)
    version = opened.token.version
    session.commit()
    assert "End session" in as_dana.get("/admin/sessions?open=1").text
    assert as_dana.post(f"/admin/sessions/{opened.id}/cut").status_code == 303
    session.refresh(opened)
    session.refresh(opened.token)
    assert opened.ended_at is not None
    assert opened.token.version > version
    assert actions(session, alice)[-1] is AuditAction.SESSION_CUT
    as_dana.flashes()
    as_dana.post(f"/admin/sessions/{opened.id}/cut")
    assert "This session has already ended." in as_dana.flashes()


def test_a_payment_is_settled_by_asking_its_provider(
    as_dana: Browser, alice: User, session: Session, settings: Settings
) -> None:
    payment = top_up(session, alice, settings)
    session.commit()
    path = f"/admin/payments/{payment.id}/ask"
    as_dana.post(path)
    assert "The provider has no new status." in as_dana.flashes()
    checkout = session.scalars(select(MockCheckout).where(MockCheckout.payment_id == payment.id)).one()
    mock.decide(session, checkout.id, "succeeded")
    session.commit()
    for _ in range(2):
        as_dana.post(path)
    assert balance(session, alice) == 150
    assert "data-payment=" in as_dana.get("/admin/payments?status=succeeded&provider=mock").text
    assert "data-payment=" not in as_dana.get("/admin/payments?status=pending").text


def test_gift_codes_are_saved_once_as_a_file(as_dana: Browser, session: Session) -> None:
    fields = {
        "amount": "5",
        "count": "3",
        "uses_each": "1",
        "note": "for a fair",
        "as": "csv",
        "key": str(uuid.uuid4()),
    }
    answer = as_dana.post("/admin/gifts/new", **fields)
    head, *rows = answer.text.split()
    assert (answer.mimetype, head, len(rows)) == ("text/csv", "code,amount_znc", 3)
    prefixes = session.scalars(select(GiftCode.prefix)).all()
    assert {row[: len(prefixes[0])] for row in rows} == set(prefixes)


@pytest.mark.parametrize("name", ["users", "tokens", "sessions", "payments", "audit"])
def test_each_list_is_a_file_and_no_formula_in_it_runs(
    as_dana: Browser, alice: User, session: Session, settings: Settings, name: str
) -> None:
    alice.username = "alice"
    open_session(session, alice, settings)
    top_up(session, alice, settings)
    session.commit()
    answer = as_dana.get(f"/admin/{name}?format=csv")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert f'filename="zenzefi-{name}-' in answer.headers["Content-Disposition"]
    lines = answer.text.splitlines()
    assert len(lines) >= 2
    assert ",=cmd()" not in answer.text
    if name == "sessions":
        assert "'=cmd()" in answer.text


LISTS = {
    "outages": "outages?",
    "settings-history": "settings/history?",
    "bundles": "offers?list=bundles&",
    "coupons": "offers?list=coupons&",
    "gifts": "offers?list=gifts&",
}


@pytest.mark.parametrize("name", LISTS)
def test_outages_offers_and_changes_are_files_too(
    as_dana: Browser, dana: User, session: Session, settings: Settings, name: str
) -> None:
    formula, boss = "=cmd()", Actor(dana.id)
    session.add(Outage(opened_at=clock.now(), last_failed_at=clock.now()))
    overrides.change(session, settings, "limits.proxy_per_minute", value="900", reason=formula, seen=0, actor=boss)
    uses = {"uses_in_all": None, "uses_per_user": None, "valid_until": None}
    coupons.create(session, code="=CMD()", percent=Decimal(10), amount=None, **uses, actor=boss)  # type: ignore[arg-type]
    facts = {"uses_each": 1, "valid_until": None, "note": formula, "settings": settings, "actor": boss}
    codes = gift_codes.create(session, amount=Decimal(5), count=120, **facts)  # type: ignore[arg-type]
    some_bundle(session).description = formula
    session.commit()
    answer = as_dana.get(f"/admin/{LISTS[name]}format=csv")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert f'filename="zenzefi-{name}-' in answer.headers["Content-Disposition"]
    _head, *rows = answer.text.splitlines()
    assert len(rows) == {"gifts": 120, "bundles": 4}.get(name, 1)
    assert ",=" not in answer.text
    assert name == "outages" or "'=cmd()" in answer.text.lower()
    assert not any(code in answer.text for code in codes)
    assert f"format=csv{'&amp;list=' + name if name in {'bundles', 'coupons', 'gifts'} else ''}" in (
        as_dana.get(f"/admin/{LISTS[name].partition('?')[0]}").text
    )


def test_a_list_of_offers_that_there_is_not_is_no_file(as_dana: Browser) -> None:
    assert as_dana.get("/admin/offers?format=csv&list=secrets").status_code == 404


def test_the_audit_log_shows_how_far_it_is_chained_and_whether_it_is_intact(
    as_dana: Browser, session: Session, settings: Settings
) -> None:
    key = hash_chain.key_of(settings.tokens)
    waiting = as_dana.get("/admin/audit").text
    assert "No row is in the hash chain yet." in waiting
    assert "not chained yet." in waiting
    assert "Not verified yet." in waiting
    count = hash_chain.chain_new_rows(session, key)
    chain_verification.record_check(session, chain_verification.verify_and_record(session, key, recorded={}))
    session.commit()
    html = as_dana.get("/admin/audit").text
    assert f'data-testid="sealed" data-number="{count}"' in html
    assert "seal." not in html
    assert "intact" in html
    chain_verification.record_check(
        session,
        replace(
            chain_verification.verify_and_record(session, key, recorded={}),
            fault=chain_verification.Fault("altered", 2, 5),
        ),
    )
    session.commit()
    assert "The audit log has been altered: row 2 (id 5)" in as_dana.get("/admin/audit").text
    assert "The audit log has been altered" in as_dana.get("/admin/").text


def test_the_log_is_narrowed_by_everything(
    as_dana: Browser, alice: User, dana: User, session: Session, settings: Settings
) -> None:
    open_session(session, alice, settings)
    session.commit()
    as_dana.post(f"/admin/users/{alice.id}/active", active="0")

    def found(**query: str) -> int:
        return as_dana.get("/admin/audit", query_string=query).text.count("data-action=")

    today = f"{clock.now():%Y-%m-%d}"
    assert found(actor=str(dana.id), action="user.disabled") == 1
    assert found(resource="session") == 1
    assert found(since=today, until=today) == found()
    assert found(until="2001-01-01") == 0
    assert found(since="soon", until="9999-12-31", actor="x") == found()


def test_a_list_of_millions_is_not_counted_to_its_end(session: Session, alice: User, settings: Settings) -> None:
    for _ in range(5):
        buy(session, alice, settings, hours=1)
    listing = admin_lists.tokens()
    first = listing.page(session, limit=2, offset=0, count_to=3)
    assert (len(first.items), first.is_exact, first.has_next) == (2, False, True)
    last = listing.page(session, limit=2, offset=2, count_to=3)
    assert (len(last.items), last.total, last.has_next) == (1, 3, False)
    assert listing.page(session, limit=2, offset=4, count_to=3).items == []
    assert listing.page(session, limit=2, offset=0, count_to=5).total == 5

"""Admin area: pages and changes."""

import uuid

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditAction, AuditEntry
from models.config.settings import Settings
from models.ledger import Transfer, TransferKind
from models.services.actor import Actor
from models.services.gateway import sessions
from models.users import User
from tests.conftest import make_user
from tests.factories import actions, balance, buy, top_up
from tests.portal.conftest import Browser, attribute, text_of


def change(**changes: str) -> dict[str, str]:
    return {"amount": "12.50", "reason": "A present", "key": str(uuid.uuid4()), **changes}


def test_an_admin_adjusts_a_balance_with_a_reason(as_dana: Browser, alice: User, dana: User, session: Session) -> None:
    session.commit()
    answer = as_dana.post(f"/admin/users/{alice.id}/adjust", **change())
    assert answer.status_code == 303
    assert "112.50 ZNC" in as_dana.flashes()
    assert balance(session, alice) == 112.5
    newest = session.scalars(select(Transfer).where(Transfer.description == "A present")).one()
    assert (newest.kind, newest.actor_id) == (TransferKind.ADJUSTMENT, dana.id)
    page = as_dana.get(f"/admin/users/{alice.id}")
    assert attribute(page, "balance", "data-amount") == "112.50"
    assert "A present" in page.text


def test_the_same_adjustment_sent_twice_is_booked_once(as_dana: Browser, alice: User, session: Session) -> None:
    session.commit()
    form = change(amount="-30")
    as_dana.post(f"/admin/users/{alice.id}/adjust", **form)
    as_dana.flashes()
    as_dana.post(f"/admin/users/{alice.id}/adjust", **form)
    assert "was not applied twice" in as_dana.flashes()
    assert balance(session, alice) == 70


@pytest.mark.parametrize(
    "changes",
    [
        *({"amount": amount} for amount in ("0", "NaN", "1e30", "0.001", "1,5", "", "-", "9" * 30)),
        {"amount": "-100.01"},
        {"reason": ""},
        {"reason": "  x "},
        {"reason": "x" * 201},
        {"key": "no id"},
        {"key": ""},
    ],
)
def test_a_faulty_adjustment_is_refused_with_a_message(
    as_dana: Browser, alice: User, session: Session, changes: dict[str, str]
) -> None:
    session.commit()
    answer = as_dana.post(f"/admin/users/{alice.id}/adjust", **change(**changes))
    assert answer.status_code == 400
    assert text_of(answer, "field-error")
    assert balance(session, alice) == 100


def test_users_are_found_by_parts_of_address_or_name(as_dana: Browser, session: Session) -> None:
    for name in ("percent", "under_score", "plain"):
        make_user(session, name)
    session.commit()
    for words, expected in {"PERC": 1, "r_s": 1, "%": 0, "nobody": 0, "example.test": 4, "": 4}.items():
        page = as_dana.get("/admin/users", query_string={"q": words})
        assert (words, page.text.count("data-user=")) == (words, expected)


def test_long_lists_are_paged_in_the_search_too(as_dana: Browser, session: Session) -> None:
    for number in range(30):
        make_user(session, f"buyer{number}")
    session.commit()
    first = as_dana.get("/admin/users?q=buyer")
    assert first.text.count("data-user=") == 25
    assert 'href="/admin/users?q=buyer&amp;page=2"' in first.text
    assert as_dana.get("/admin/users?q=buyer&page=2").text.count("data-user=") == 5


def test_a_disabled_user_is_enabled_again(as_dana: Browser, alice: User, session: Session) -> None:
    session.commit()
    as_dana.post(f"/admin/users/{alice.id}/active", active="0")
    assert "disabled" in as_dana.get(f"/admin/users/{alice.id}").text
    as_dana.post(f"/admin/users/{alice.id}/active", active="1")
    assert actions(session, alice)[-2:] == [AuditAction.USER_DISABLED, AuditAction.USER_ENABLED]


def test_the_last_admin_cannot_disable_themselves(as_dana: Browser, dana: User, session: Session) -> None:
    session.commit()
    as_dana.post(f"/admin/users/{dana.id}/active", active="0")
    assert "The last admin cannot be removed." in as_dana.flashes()
    assert session.get_one(User, dana.id, populate_existing=True).is_active


def test_an_admin_sees_tokens_sessions_and_payments(
    as_dana: Browser, alice: User, bob: User, session: Session, settings: Settings
) -> None:
    token = buy(session, alice, settings, name="Laptop")
    buy(session, bob, settings, hours=1)
    sessions.start_session(
        session, token.id, device="d" * 20, rules=settings.sessions, actor=Actor(alice.id, "203.0.113.7")
    )
    payment = top_up(session, alice, settings)
    session.commit()
    assert as_dana.get("/admin/tokens").text.count("data-token=") == 2
    assert f'href="/admin/tokens?q={token.id}" title="token.purchased"' in as_dana.get("/admin/audit").text
    by_id = as_dana.get(f"/admin/tokens?q={token.id}").text
    assert (by_id.count("data-token="), f'data-token="{token.id}"' in by_id) == (1, True)
    found = as_dana.get("/admin/tokens", query_string={"q": token.prefix})
    assert found.text.count("data-token=") == 1
    assert "alice@example.test" in found.text
    assert "203.0.113.7" in as_dana.get("/admin/sessions?open=1").text
    assert str(payment.id) in as_dana.get("/admin/payments").text
    page = as_dana.get(f"/admin/users/{alice.id}").text
    assert "Laptop" in page
    assert "203.0.113.7" in page
    figures = as_dana.get("/admin/")
    for name, value in {"users": "3", "running-tokens": "1", "open-sessions": "1", "pending-payments": "1"}.items():
        assert text_of_figure(figures.text, name) == value


def text_of_figure(html: str, testid: str) -> str:
    return html.partition(f'data-testid="{testid}">')[2].partition("<")[0]


def test_the_audit_log_is_filtered_by_action_and_user(
    as_dana: Browser, alice: User, dana: User, session: Session
) -> None:
    session.commit()
    as_dana.post(f"/admin/users/{alice.id}/adjust", **change())
    everything = as_dana.get("/admin/audit").text
    assert everything.count("data-action=") == len(actions(session))
    only = as_dana.get(f"/admin/audit?action=balance.adjusted&user={alice.id}").text
    assert only.count('data-action="balance.adjusted"') == only.count("data-action=") == 2
    assert "A present" in only
    assert as_dana.get(f"/admin/audit?user={dana.id}").text.count('data-action="user.logged_in"') == 1
    assert as_dana.get("/admin/audit?action=x&user=y").text.count("data-action=") == len(actions(session))


def test_admin_actions_are_recorded_with_address_and_browser(
    as_dana: Browser, alice: User, dana: User, session: Session
) -> None:
    session.commit()
    as_dana.client.environ_base["HTTP_USER_AGENT"] = "A browser"
    as_dana.post(f"/admin/users/{alice.id}/adjust", **change())
    entry = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert entry is not None
    assert (entry.actor_id, entry.ip_address, entry.user_agent) == (dana.id, "127.0.0.1", "A browser")

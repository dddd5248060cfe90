"""Notification preferences, unsubscribe links, and e-mails in the admin area."""

import re
from decimal import Decimal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.notification_preferences import ALWAYS_MAILED, Topic
from models.outbox import OutboxMail
from models.services.notifications import mail_rendering, outbox
from models.services.notifications import preferences as notification_preferences
from models.users import User
from portal.presentation import labels
from tests.factories import actions
from tests.portal.conftest import Browser, Jobs


def test_each_topic_is_switched_on_and_off_by_itself(as_alice: Browser, session: Session, alice: User) -> None:
    page = as_alice.get("/notifications").text
    assert page.count('name="mail"') == len(Topic) - len(ALWAYS_MAILED)
    assert page.count('name="webhook"') == len(Topic)
    assert page.count("checked") == 2 * len(Topic) - len(ALWAYS_MAILED)
    sent = as_alice.post("/notifications", mail=["bonus", "payment"], webhook=["bonus"], low_balance="12.50")
    assert (sent.status_code, sent.location) == (303, "/notifications")
    chosen = notification_preferences.preferences_of(session, alice.id)
    assert {topic for topic, (mail, _) in chosen.items() if mail} == {Topic.BONUS} | ALWAYS_MAILED
    assert {topic for topic, (_, webhook) in chosen.items() if webhook} == {Topic.BONUS}
    assert as_alice.get("/notifications").text.count("checked") == 2
    session.refresh(alice)
    assert alice.low_balance_znc == Decimal("12.50")


def test_a_threshold_that_is_no_amount_is_refused_and_nothing_is_kept(
    as_alice: Browser, session: Session, alice: User
) -> None:
    for bad in ("", "-1", "1,5", "1e30", "NaN", "0.001", "x" * 30):
        assert as_alice.post("/notifications", low_balance=bad).status_code == 400
    assert set(notification_preferences.preferences_of(session, alice.id).values()) == {(True, True)}
    assert as_alice.post("/notifications", low_balance="0.00").status_code == 303
    session.refresh(alice)
    assert alice.low_balance_znc == 0


def test_a_link_asks_first_and_acts_without_a_login(
    anonymous: Browser, session: Session, alice: User, settings: Settings
) -> None:
    link = notification_preferences.unsubscribe_path(settings.portal, alice.id, "bonus")
    assert link is not None
    asked = anonymous.get(link)
    assert "Unsubscribe from these e-mails?" in asked.text
    assert asked.headers["Referrer-Policy"] == "no-referrer"
    assert notification_preferences.preferences_of(session, alice.id)[Topic.BONUS] == (True, True)
    # As a mail program does it (RFC 8058): no cookie, no form of ours.
    done = anonymous.client.post(link, data={"List-Unsubscribe": "One-Click"})
    assert done.status_code == 200
    assert "A bonus is credited" in done.text
    assert notification_preferences.preferences_of(session, alice.id)[Topic.BONUS] == (False, True)
    assert notification_preferences.preferences_of(session, alice.id)[Topic.RENEWAL] == (True, True)
    assert anonymous.client.post(link[:-1]).status_code == 404
    assert anonymous.get(link[:-1]).status_code == 404


def test_the_owner_is_notified_of_a_login_from_a_new_browser(
    as_alice: Browser, anonymous: Browser, session: Session, alice: User
) -> None:
    session.execute(delete(OutboxMail))
    assert as_alice.client.get_cookie("device") is not None
    as_alice.post("/logout")
    as_alice.log_in(alice)
    assert session.scalars(select(OutboxMail.kind)).all() == []
    assert anonymous.log_in(alice).status_code == 303
    mail = session.scalars(select(OutboxMail)).one()
    assert (mail.kind, mail.recipient, mail.context["address"]) == ("login", alice.email, "127.0.0.1")


def test_an_admin_sees_e_mails_by_state(as_dana: Browser, session: Session, alice: User, queued: Jobs) -> None:
    session.execute(delete(OutboxMail))
    for key in ("waits", "left", "failed"):
        outbox.enqueue_mail(session, "welcome", alice, dedup_key=key, username="alice")
    mails = {mail.dedup_key: mail for mail in session.scalars(select(OutboxMail))}
    mails["left"].sent_at = mails["failed"].failed_at = clock.now()
    mails["failed"].last_error, mails["failed"].attempts = "550 <b>no</b>", 8
    session.commit()
    for state, key in (("waiting", "waits"), ("sent", "left"), ("failed", "failed"), ("nonsense", "waits")):
        page = as_dana.get(f"/admin/mails?state={state}").text
        assert re.findall(r'data-mail="([^"]+)"', page) == [str(mails[key].id)]
    assert "550 &lt;b&gt;no&lt;/b&gt;" in as_dana.get("/admin/mails?state=failed").text
    lines = as_dana.get("/admin/mails?state=failed&format=csv").text.splitlines()
    assert "failed&amp;format=csv" in as_dana.get("/admin/mails?state=failed").text
    assert len(lines) == 2
    assert lines[1].startswith(f"{mails['failed'].id},welcome,{alice.email},8,")
    assert lines[1].endswith(",550 <b>no</b>")
    as_dana.post("/preferences", lang="ru")
    assert '<span title="welcome">Приветствие</span>' in as_dana.get("/admin/mails?state=failed").text
    again = as_dana.post(f"/admin/mails/{mails['failed'].id}/again", next="/admin/mails?state=failed")
    assert (again.status_code, again.location) == (303, "/admin/mails?state=failed")
    session.refresh(mails["failed"])
    assert (mails["failed"].failed_at, mails["failed"].attempts) == (None, 0)
    assert queued == [("jobs.mail.send_pending",)]
    assert actions(session)[-1] is AuditAction.MAIL_SENT_AGAIN
    # Asked twice it is one mail, and one that has left is not sent a second time.
    as_dana.post(f"/admin/mails/{mails['left'].id}/again")
    session.refresh(mails["left"])
    assert mails["left"].sent_at is not None
    assert actions(session).count(AuditAction.MAIL_SENT_AGAIN) == 1


def test_every_e_mail_is_previewed_in_both_languages_in_a_sandbox(as_dana: Browser) -> None:
    for kind in mail_rendering.kinds():
        assert kind in labels.KINDS, f"portal/presentation/labels.py says nothing about {kind}"
        for lang in ("en", "ru"):
            page = as_dana.get(f"/admin/mails/samples?kind={kind}&lang={lang}")
            assert "frame-src 'self'" in page.headers["Content-Security-Policy"]
            assert "sandbox title=" in page.text
            shown = as_dana.get(f"/admin/mails/samples/{kind}/{lang}")
            assert f'<html lang="{lang}"' in shown.text
            assert shown.headers["Content-Security-Policy"].endswith("sandbox")
            assert shown.headers["X-Frame-Options"] == "SAMEORIGIN"
    for bad in ("kind=nothing", "lang=xx", "kind=../mail/welcome", "kind=layout"):
        assert as_dana.get(f"/admin/mails/samples?{bad}").status_code == 404

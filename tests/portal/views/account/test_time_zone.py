"""A user's time zone: taken from the browser, changed in the profile, and seen on pages and in mails."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs import mail
from models.config.settings import Settings
from models.outbox import OutboxMail
from models.services.notifications import mail_samples, outbox
from models.users import User
from tests.conftest import PASSWORD
from tests.portal.conftest import Browser


def test_the_browsers_zone_is_taken_at_registration(anonymous: Browser, session: Session) -> None:
    assert "data-browser-zone" in anonymous.get("/register").text
    sent = {"email": "erin@example.test", "username": "erin", "password": PASSWORD, "time_zone": "Europe/Moscow"}
    assert anonymous.post("/register", **sent).status_code == 303
    assert session.scalars(select(User.time_zone).where(User.username == "erin")).one() == "Europe/Moscow"


def test_a_login_sets_the_browsers_time_zone_when_none_is_set(
    anonymous: Browser, session: Session, alice: User
) -> None:
    session.commit()
    sent = {"email": alice.email, "password": PASSWORD}
    assert anonymous.post("/login", **sent, time_zone="Mars/Olympus_Mons").status_code == 303
    session.refresh(alice)
    assert alice.time_zone is None
    anonymous.post("/logout")
    assert anonymous.post("/login", **sent, time_zone="Asia/Kathmandu").status_code == 303
    session.refresh(alice)
    assert alice.time_zone == "Asia/Kathmandu"


def test_a_zone_is_chosen_in_the_profile_and_used_on_every_page(
    as_alice: Browser, session: Session, alice: User
) -> None:
    alice.created_at = datetime(2026, 10, 31, 22, 30, tzinfo=UTC)
    session.commit()
    before = as_alice.get("/profile").text
    assert "31\u00a0Oct\u00a02026, 22:30\u00a0UTC" in before
    assert "data-time-zone" not in before
    assert as_alice.post("/profile/time-zone", time_zone="Europe/Moscow").status_code == 303
    page = as_alice.get("/profile").text
    assert "1\u00a0Nov\u00a02026, 01:30\u00a0UTC+3" in page
    assert 'data-time-zone="Europe/Moscow"' in page
    assert 'title="2026-10-31 22:30:00 UTC"' in page
    assert as_alice.post("/profile/time-zone", time_zone="Europe/Nowhere").status_code == 400


def test_mails_have_times_in_the_zone_of_their_reader(session: Session, alice: User, settings: Settings) -> None:
    moment = {"at": "2026-10-31T22:30:00+00:00"}
    outbox.enqueue_mail(
        session, "login", alice, dedup_key="a test", **{**mail_samples.sample_context("login"), **moment}
    )
    written = session.scalars(select(OutboxMail).where(OutboxMail.dedup_key == "a test")).one()
    assert "31 Oct 2026, 22:30 UTC" in str(mail.render(written, settings).get_body(("plain",)))
    alice.time_zone = "Asia/Kathmandu"
    assert "1 Nov 2026, 04:15 UTC+5:45" in str(mail.render(written, settings).get_body(("plain",)))

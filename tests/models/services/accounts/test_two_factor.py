"""Second factors and e-mail links under races: single-use also when used concurrently."""

from datetime import timedelta

import pyotp
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.config.settings import Settings
from models.database import Sessions
from models.email_links import EmailLink, LinkPurpose
from models.services.accounts import email_flows, email_links, two_factor
from models.services.actor import PLATFORM
from models.services.errors import LinkExpired, OtpInvalid
from models.users import User
from tests.conftest import PASSWORD
from tests.factories import crossing, person, race

Committed = tuple[Settings, Sessions]


def test_one_code_sent_twice_at_the_same_instant_is_taken_once(committed: Committed) -> None:
    settings, sessions = committed
    alice = person(sessions, "alice")
    with sessions.begin() as session:
        owner = session.get_one(User, alice.id)
        two_factor.begin(session, owner, password=PASSWORD, settings=settings)
        totp = pyotp.TOTP(str(two_factor.waiting_secret(session, owner, settings)))
        code = totp.at(clock.now())
        saved = two_factor.confirm(session, owner, code, settings=settings, actor=PLATFORM)

    def check(typed: str) -> None:
        with sessions.begin() as session:
            two_factor.check(session, session.get_one(User, alice.id), typed, settings=settings, actor=PLATFORM)

    for typed in (totp.at(clock.now() + timedelta(seconds=30)), saved[0]):
        results = race(*[lambda typed=typed: check(typed)] * 3)
        assert sorted(type(result).__name__ for result in results) == ["NoneType", "OtpInvalid", "OtpInvalid"]
    assert isinstance(race(lambda: check(code))[0], OtpInvalid), "the code that turned it on is used up"


def test_a_code_of_a_secret_that_is_replaced_at_the_same_instant_confirms_nothing(committed: Committed) -> None:
    """The app has the first secret: if its code enabled the second one, the owner would be locked out."""
    settings, sessions = committed
    alice = person(sessions, "alice")
    with sessions.begin() as session:
        owner = session.get_one(User, alice.id)
        two_factor.begin(session, owner, password=PASSWORD, settings=settings)
        shown = pyotp.TOTP(str(two_factor.waiting_secret(session, owner, settings)))

    def confirm(session: Session) -> list[str]:
        owner, code = session.get_one(User, alice.id), shown.at(clock.now())
        return two_factor.confirm(session, owner, code, settings=settings, actor=PLATFORM)

    def replace(session: Session) -> None:
        two_factor.begin(session, session.get_one(User, alice.id), password=PASSWORD, settings=settings)

    confirmed, _replaced = crossing(sessions, confirm, "FROM two_factors", replace)
    assert isinstance(confirmed, OtpInvalid)
    with sessions.begin() as session:
        assert not two_factor.is_enabled(session, alice.id)


def test_a_code_of_a_factor_that_is_replaced_concurrently_is_refused(committed: Committed) -> None:
    settings, sessions = committed
    alice = person(sessions, "alice")

    def set_up(session: Session) -> pyotp.TOTP:
        owner = session.get_one(User, alice.id)
        two_factor.begin(session, owner, password=PASSWORD, settings=settings)
        made = pyotp.TOTP(str(two_factor.waiting_secret(session, owner, settings)))
        two_factor.confirm(session, owner, made.at(clock.now()), settings=settings, actor=PLATFORM)
        return made

    with sessions.begin() as session:
        old = set_up(session)

    def check(session: Session) -> None:
        typed = old.at(clock.now() + timedelta(seconds=30))
        two_factor.check(session, session.get_one(User, alice.id), typed, settings=settings, actor=PLATFORM)

    def replace(session: Session) -> None:
        two_factor.reset(session, alice.id, reason="Lost the phone", actor=PLATFORM)
        set_up(session)

    checked, _replaced = crossing(sessions, check, "FROM two_factors", replace)
    assert isinstance(checked, OtpInvalid)


def test_one_link_used_twice_at_the_same_instant_works_once(committed: Committed) -> None:
    settings, sessions = committed
    alice = person(sessions, "alice")
    with sessions.begin() as session:
        email_links.request_link(session, LinkPurpose.RESET_PASSWORD, alice.email, settings=settings, actor=PLATFORM)
        email_links.send_requested(session)
        secret = email_links.secret_of(settings, session.scalars(select(EmailLink.id)).one())

    def reset(new: str) -> None:
        with sessions.begin() as session:
            email_flows.reset_password(session, secret, new, settings=settings, actor=PLATFORM)

    results = race(lambda: reset("the first of two"), lambda: reset("the other of two"))
    assert sorted(isinstance(result, LinkExpired) for result in results) == [False, True]
    with sessions.begin() as session:
        assert session.get_one(User, alice.id).password_version == 2

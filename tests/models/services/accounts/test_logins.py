"""Login sessions: begin, expiry, end, and no revival."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from models.logins import Login, LoginKind
from models.services.accounts import logins, roles, users
from models.services.actor import PLATFORM, Actor
from models.services.errors import NotFound
from models.users import User
from tests.conftest import PASSWORD, Clock
from tests.factories import BROWSER, actions

HOUR = timedelta(hours=1)


def begin(session: Session, user: User, kind: LoginKind = LoginKind.PAGE) -> Login:
    """Create a login for one hour."""
    return logins.begin(session, user, kind=kind, lifetime=HOUR, actor=BROWSER)


def is_open(session: Session, login: Login) -> bool:
    """Return whether the login is active."""
    return logins.find_active(session, login.id, kind=login.kind) is not None


def test_a_login_is_found_with_its_user_and_audited(session: Session, alice: User) -> None:
    login = begin(session, alice)
    found = logins.find_active(session, login.id, kind=LoginKind.PAGE)
    assert found is not None
    assert (found.user, found.ip_address, found.user_agent) == (alice, BROWSER.ip_address, BROWSER.user_agent)
    assert actions(session, alice)[-1] == "user.logged_in"


def test_page_cookies_are_not_valid_in_the_api_and_api_tokens_not_on_pages(session: Session, alice: User) -> None:
    page, api = begin(session, alice), begin(session, alice, LoginKind.API)
    assert logins.find_active(session, page.id, kind=LoginKind.API) is None
    assert logins.find_active(session, api.id, kind=LoginKind.PAGE) is None


def test_a_login_expires_unless_it_is_used(session: Session, alice: User, time: Clock) -> None:
    used, unused, api = begin(session, alice), begin(session, alice), begin(session, alice, LoginKind.API)
    time.advance(minutes=40)
    elsewhere = Actor(alice.id, "198.51.100.1", "Another browser")
    logins.touch(session, used, actor=elsewhere, lifetime=HOUR)
    logins.touch(session, api, actor=elsewhere)
    time.advance(minutes=20)
    assert [is_open(session, login) for login in (used, unused, api)] == [True, False, False]
    assert (used.ip_address, used.user_agent) == ("198.51.100.1", "Another browser")
    time.advance(minutes=40)
    assert not is_open(session, used)


def test_a_logins_last_use_is_written_every_five_minutes_at_most(session: Session, alice: User, time: Clock) -> None:
    login = begin(session, alice)
    time.advance(seconds=299)
    assert not logins.is_stale(login)
    time.advance(seconds=1)
    assert logins.is_stale(login)
    logins.touch(session, login, actor=BROWSER)
    assert not logins.is_stale(login)


def test_an_ended_login_is_not_revived_by_being_used(session: Session, alice: User, time: Clock) -> None:
    login = begin(session, alice)
    logins.end(session, alice, login.id, actor=BROWSER)
    time.advance(minutes=6)
    logins.touch(session, login, actor=BROWSER, lifetime=HOUR)
    assert not is_open(session, login)
    session.refresh(login)
    assert login.expires_at == login.created_at + HOUR


def test_a_login_ends_once_and_only_its_owner_ends_it(session: Session, alice: User, bob: User) -> None:
    login = begin(session, alice)
    with pytest.raises(NotFound):
        logins.end(session, bob, login.id, actor=BROWSER)
    assert is_open(session, login)
    for _ in range(2):
        logins.end(session, alice, login.id, actor=BROWSER)
    assert not is_open(session, login)
    assert actions(session, alice).count("user.logged_out") == 1  # type: ignore[arg-type]


def test_all_other_logins_of_the_user_end_and_those_of_others_stay(session: Session, alice: User, bob: User) -> None:
    here, page, api, bobs = (
        begin(session, alice),
        begin(session, alice),
        begin(session, alice, LoginKind.API),
        begin(session, bob),
    )
    assert [logins.end_others(session, alice.id, keep=here.id, actor=BROWSER) for _ in range(2)] == [2, 0]
    assert [is_open(session, login) for login in (here, page, api, bobs)] == [True, False, False, True]
    assert actions(session, alice)[-1] == "user.logins_ended"
    assert logins.end_all(session, alice.id, actor=BROWSER) == 1
    assert [is_open(session, login) for login in (here, bobs)] == [False, True]


def test_a_new_password_ends_every_login_but_the_one_that_is_kept(session: Session, alice: User) -> None:
    here, other = begin(session, alice), begin(session, alice, LoginKind.API)
    users.change_password(session, alice, current=PASSWORD, new="another good one", actor=BROWSER, keep=here)
    assert [is_open(session, login) for login in (here, other)] == [True, False]
    users.change_password(session, alice, current="another good one", new=PASSWORD, actor=BROWSER)
    assert not is_open(session, here)


def test_a_login_begun_with_the_old_password_during_a_change_is_invalid(session: Session, alice: User) -> None:
    """The new password was committed between the check of the old one and the creation of the login."""
    users.change_password(session, alice, current=PASSWORD, new="another good one", actor=PLATFORM)
    late = begin(session, alice)
    late.password_version -= 1
    session.flush()
    assert not is_open(session, late)


def test_disabling_a_user_ends_logins_and_enabling_does_not_restore_them(
    session: Session, alice: User, dana: User
) -> None:
    login = begin(session, alice)
    roles.set_active(session, alice.id, active=False, actor=Actor(dana.id))
    assert not is_open(session, login)
    roles.set_active(session, alice.id, active=True, actor=Actor(dana.id))
    assert not is_open(session, login)


def test_the_list_shows_open_logins_the_last_used_first(session: Session, alice: User, bob: User, time: Clock) -> None:
    first, second, ended = begin(session, alice), begin(session, alice), begin(session, alice)
    begin(session, bob)
    logins.end(session, alice, ended.id, actor=BROWSER)
    time.advance(minutes=6)
    logins.touch(session, first, actor=BROWSER, lifetime=HOUR)
    page = logins.of_user(session, alice.id, limit=10, offset=0)
    assert [login.id for login in page.items] == [first.id, second.id]

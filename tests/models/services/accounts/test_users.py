"""Users: registration, authentication, password changes, and disabling."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.ledger import Account
from models.outbox import OutboxMail
from models.services.accounts import passwords, roles, users
from models.services.actor import PLATFORM, Actor
from models.services.errors import (
    AccountDisabled,
    EmailTaken,
    InvalidInput,
    LastSuperuser,
    LoginFailed,
    NotFound,
    UsernameTaken,
)
from models.users import User
from tests.conftest import PASSWORD, make_user, some_id
from tests.factories import BROWSER, actions, balance


def register(session: Session, **changes: str) -> User:
    """Register erin, with some fields changed."""
    facts = {"email": "erin@example.test", "username": "erin", "password": PASSWORD, **changes}
    return users.register(session, actor=BROWSER, **facts)  # type: ignore[arg-type]


def test_a_new_user_has_an_empty_wallet_a_referral_code_a_welcome_mail_and_an_audit_row(session: Session) -> None:
    erin = register(session, full_name="  Erin Example ")
    assert balance(session, erin) == 0
    assert len(erin.referral_code) == 12
    assert erin.full_name == "Erin Example"
    assert (erin.is_active, erin.is_superuser, erin.password_version) == (True, False, 1)
    assert actions(session, erin) == ["user.registered"]
    assert [mail.recipient for mail in session.scalars(select(OutboxMail))] == ["erin@example.test"]


def test_only_a_hash_of_the_password_is_stored(session: Session) -> None:
    assert register(session).password_hash.startswith("$argon2id$")


@pytest.mark.parametrize("email", ["erin@example.test", "ERIN@Example.TEST", " erin@example.test "])
def test_an_address_that_has_an_account_is_taken_whatever_its_capitals(session: Session, email: str) -> None:
    register(session)
    with pytest.raises(EmailTaken):
        register(session, email=email, username="other")
    assert len(session.scalars(select(Account).where(Account.user_id.is_not(None))).all()) == 1


@pytest.mark.parametrize("username", ["erin", "ERIN", "Erin"])
def test_a_user_name_is_taken_whatever_its_capitals(session: Session, username: str) -> None:
    register(session)
    with pytest.raises(UsernameTaken):
        register(session, email="other@example.test", username=username)


@pytest.mark.parametrize("email", ["JÜRGEN@example.test", "jürgen@example.test", "İstanbul@example.test"])
def test_an_address_with_any_letters_can_log_in(session: Session, email: str) -> None:
    erin = register(session, email=email)
    assert users.authenticate(session, email=email, password=PASSWORD) is erin


@pytest.mark.parametrize(
    "email",
    [
        *("", "erin", "@example.test", "erin@", "a b@example.test", "a@b@c", "x" * 65 + "@x.test"),
        *("<erin@example.test>", '"erin"@example.test', "(a)erin@example.test"),
        *("a,erin@example.test", "erin@example.test,x", "a;b@example.test"),
        *("erin@example.test\nBcc: x@example.test", "erin\x00@example.test", "erin@example.test\x7f", "\ud800@x.test"),
    ],
)
def test_a_malformed_address_is_refused(session: Session, email: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        register(session, email=email)
    assert caught.value.field == "email"


@pytest.mark.parametrize(
    "username", ["", "ab", "x" * 51, "a b", "erin\nBcc", "<b>erin</b>", "a@b", "nul\x00", "a\ud800b"]
)
def test_an_invalid_user_name_is_refused(session: Session, username: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        register(session, username=username)
    assert caught.value.field == "username"


@pytest.mark.parametrize("password", ["", "1234567", "x" * 129])
def test_a_password_has_8_to_128_characters(session: Session, password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        register(session, password=password)
    assert caught.value.field == "password"


@pytest.mark.parametrize("full_name", ["x" * 101, "two\nlines", "nul\x00"])
def test_a_full_name_is_one_line_of_at_most_100_characters(session: Session, full_name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        register(session, full_name=full_name)
    assert caught.value.field == "full_name"


def test_a_login_needs_address_and_password_whatever_the_capitals_of_the_address(session: Session, alice: User) -> None:
    assert users.authenticate(session, email=" ALICE@example.test", password=PASSWORD) is alice


@pytest.mark.parametrize("email", ["alice@example.test", "nobody@example.test", "", "nul\x00@example.test", "\ud800"])
def test_a_wrong_password_and_an_unknown_address_read_the_same(session: Session, alice: User, email: str) -> None:
    with pytest.raises(LoginFailed, match="login_failed"):
        users.authenticate(session, email=email, password="wrong")


def test_a_disabled_user_is_told_apart_only_with_the_right_password(session: Session, alice: User, dana: User) -> None:
    roles.set_active(session, alice.id, active=False, actor=Actor(dana.id))
    with pytest.raises(LoginFailed):
        users.authenticate(session, email=alice.email, password="wrong")
    with pytest.raises(AccountDisabled):
        users.authenticate(session, email=alice.email, password=PASSWORD)


def test_a_failed_login_is_audited_with_and_without_a_user(session: Session, alice: User) -> None:
    users.record_failed_login(session, email=alice.email, actor=BROWSER)
    users.record_failed_login(session, email="nobody@example.test", actor=BROWSER)
    session.flush()
    assert actions(session, alice)[-1] == "user.login_failed"
    assert actions(session)[-2:] == ["user.login_failed"] * 2


def test_a_hash_with_older_parameters_is_renewed_at_login(session: Session, alice: User) -> None:
    older = passwords.PasswordHasher(time_cost=2, memory_cost=64, parallelism=1)
    alice.password_hash = old = older.hash(PASSWORD)
    users.authenticate(session, email=alice.email, password=PASSWORD)
    assert alice.password_hash != old
    assert passwords.verify_password(alice.password_hash, PASSWORD)


def test_a_malformed_hash_never_verifies() -> None:
    assert not passwords.verify_password("not a hash", PASSWORD)
    assert not passwords.verify_password(None, "a password that belongs to nobody")


def test_a_new_password_replaces_the_old_and_ends_older_logins(session: Session, alice: User) -> None:
    users.change_password(session, alice, current=PASSWORD, new="another good one", actor=Actor(alice.id))
    assert alice.password_version == 2
    assert users.authenticate(session, email=alice.email, password="another good one") is alice
    with pytest.raises(LoginFailed):
        users.authenticate(session, email=alice.email, password=PASSWORD)


@pytest.mark.parametrize(
    ("current", "new", "field"),
    [("wrong", "another good one", "current_password"), (PASSWORD, "short", "new_password")],
)
def test_a_password_is_not_changed_without_the_old_or_to_a_bad_one(
    session: Session, alice: User, current: str, new: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        users.change_password(session, alice, current=current, new=new, actor=Actor(alice.id))
    assert caught.value.field == field
    assert alice.password_version == 1


def test_a_user_can_be_disabled_and_enabled_and_only_changes_are_recorded(
    session: Session, alice: User, dana: User
) -> None:
    for active in (False, False, True):
        assert roles.set_active(session, alice.id, active=active, actor=Actor(dana.id)).is_active is active
    assert actions(session, alice)[-2:] == ["user.disabled", "user.enabled"]


def test_the_last_admin_cannot_be_disabled(session: Session, dana: User) -> None:
    with pytest.raises(LastSuperuser):
        roles.set_active(session, dana.id, active=False, actor=Actor(dana.id))
    other = make_user(session, "erin", is_superuser=True)
    roles.set_active(session, dana.id, active=False, actor=Actor(other.id))
    with pytest.raises(LastSuperuser):
        roles.set_active(session, other.id, active=False, actor=Actor(other.id))


def test_an_unknown_user_cannot_be_disabled(session: Session) -> None:
    with pytest.raises(NotFound):
        roles.set_active(session, some_id(), active=False, actor=PLATFORM)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ali", ["alice"]),
        ("ALICE@EX", ["alice"]),
        ("%", []),
        ("_", ["x_y"]),
        ("x_", ["x_y"]),
        ("\\", []),
        ("a%e", []),
        ("nul\x00", []),
        ("", ["x_y", "bob", "alice"]),
        ("  ", ["x_y", "bob", "alice"]),
        ("'; DROP TABLE users; --", []),
    ],
)
def test_a_search_takes_the_words_as_they_are(
    session: Session, alice: User, bob: User, words: str, found: list[str]
) -> None:
    make_user(session, "x_y")
    page = users.search(session, words=words, limit=10, offset=0)
    assert sorted(user.username for user in page.items) == sorted(found)


def test_the_first_admin_is_the_oldest_active_one(session: Session, alice: User) -> None:
    assert roles.first_admin(session) is None
    admin = roles.create_first_admin(session, email="admin@localhost.localdomain", password="a long password")
    assert admin.is_superuser
    assert roles.first_admin(session) is admin

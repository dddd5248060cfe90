"""`./zenzefi admin` for users who cannot log in, and its errors."""

import re

import pytest

from models.audit import AuditAction
from models.config.settings import Settings
from models.database import Sessions
from models.services.accounts import passwords, two_factor, users
from models.users import User
from ops.commands import admin
from tests.conftest import PASSWORD
from tests.factories import actions, person

Committed = tuple[Settings, Sessions]


@pytest.fixture
def run(committed: Committed, environment: dict[str, str], tmp_path, capsys):  # type: ignore[no-untyped-def]
    """Run the command on the test's database; returns its exit code and output."""
    environ = {**environment, "DATABASE_URL": committed[0].database.url}

    def call(*arguments: str) -> tuple[int, str]:
        code = admin.main([*arguments, "--data", str(tmp_path)], environ)
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def test_a_new_password_is_printed_once_and_works(committed: Committed, run) -> None:  # type: ignore[no-untyped-def]
    alice = person(committed[1], "alice")
    code, said = run("password", alice.email)
    fresh = re.search(r"\S+-\S+-\S+-\S+-\S+$", said.strip())
    assert (code, fresh is not None) == (0, True)
    with committed[1].begin() as session:
        stored = session.get_one(User, alice.id).password_hash
        assert fresh
        assert passwords.verify_password(stored, fresh[0])
        assert not passwords.verify_password(stored, PASSWORD)


def test_the_last_admin_can_log_in_after_losing_the_second_factor(committed: Committed, run) -> None:  # type: ignore[no-untyped-def]
    dana = person(committed[1], "dana", is_superuser=True)
    with committed[1].begin() as session:
        two_factor.begin(session, session.get_one(User, dana.id), password=PASSWORD, settings=committed[0])
    assert run("two-factor", dana.email)[0] == 0
    with committed[1].begin() as session:
        assert two_factor.status(session, dana.id).since is None
        assert actions(session, dana)[-1] is AuditAction.TWO_FACTOR_RESET


def test_an_unconfirmed_user_can_be_confirmed(committed: Committed, run) -> None:  # type: ignore[no-untyped-def]
    alice = person(committed[1], "alice")
    with committed[1].begin() as session:
        session.get_one(User, alice.id).awaits_confirmation = True
    assert run("confirm", alice.email)[0] == 0
    with committed[1].begin() as session:
        assert users.authenticate(session, email=alice.email, password=PASSWORD).id == alice.id


def test_an_unknown_address_is_reported_in_one_sentence(run) -> None:  # type: ignore[no-untyped-def]
    code, said = run("password", "nobody@example.test")
    assert code == 1
    assert "There is no account with the address nobody@example.test." in said

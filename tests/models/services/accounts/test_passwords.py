"""Password hashes: unknown users cost as much time as known ones."""

from argon2 import PasswordHasher

from models.services.accounts import passwords


def test_the_hash_for_unknown_users_has_the_cost_parameters_of_a_real_one() -> None:
    assert not PasswordHasher().check_needs_rehash(passwords.DUMMY_HASH)


def test_no_password_is_right_for_an_unknown_user() -> None:
    assert not passwords.verify_password(None, "a password that belongs to nobody")

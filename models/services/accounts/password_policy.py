"""Which passwords may be set: 8 to 128 characters, and none that is guessed within a million tries."""

from collections.abc import Iterable

from zxcvbn import zxcvbn

from models.services.errors import InvalidInput

LENGTH = range(8, 129)
# What zxcvbn calls "very guessable": common passwords and names, dates, keyboard rows, repetitions and sequences, with
# the usual changes (a capital, a digit at the end, 0 for o). NIST SP 800-63B-4, 3.1.1.2, asks for such a list.
_GUESSES = 1_000_000
# As much as zxcvbn reads: its time grows faster than the length. What is longer is judged by its beginning.
_READ = 72
_SERVICE = "zenzefi"
# Keys of the Russian keyboard and what they type on a Latin one: "пароль" is "gfhjkm" in every list of passwords.
_KEYS = str.maketrans("йцукенгшщзхъфывапролджэячсмитьбю", "qwertyuiop[]asdfghjkl;'zxcvbnm,.")


def check(password: str, *, field: str = "password", own: Iterable[str] = ()) -> None:
    """Raise InvalidInput for a password that may not be set. `own` are names and addresses of its user."""
    if len(password) not in LENGTH:
        raise InvalidInput(field, "password_length")
    words = [_SERVICE, *_words(own)]
    plain = password.casefold().strip()
    if plain in words or any(_is_guessable(typed, words) for typed in {password, plain.translate(_KEYS)}):
        raise InvalidInput(field, "password_guessable")


def _words(own: Iterable[str]) -> list[str]:
    """Return names and addresses, whole and in their parts, in small letters."""
    whole = [text.casefold().strip() for text in own if text.strip()]
    return [*whole, *(part for text in whole for part in text.replace("@", " ").split())]


def _is_guessable(password: str, words: list[str]) -> bool:
    return int(zxcvbn(password[:_READ], user_inputs=words)["guesses"]) < _GUESSES

"""Password policy: 8 to 128 characters, and not guessable within a million tries."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from models.lazy_modules import LazyModule
from models.services.errors import InvalidInput

if TYPE_CHECKING:
    import zxcvbn
else:
    # Its word lists take several megabytes.
    zxcvbn = LazyModule("zxcvbn")

LENGTH = range(8, 129)
# zxcvbn's "very guessable": common passwords and names, dates, keyboard rows, repetitions and sequences, with the usual
# changes (a capital, a digit at the end, 0 for o). NIST SP 800-63B-4, 3.1.1.2, requires such a list.
_GUESSES = 1_000_000
# zxcvbn reads no more: its time grows faster than the length. Longer passwords are judged by their beginning.
_READ = 72
_SERVICE = "zenzefi"
# Keys of the Russian layout and what they type on a Latin one: "пароль" is "gfhjkm" in every password list.
_KEYS = str.maketrans("йцукенгшщзхъфывапролджэячсмитьбю", "qwertyuiop[]asdfghjkl;'zxcvbnm,.")


def check(password: str, *, field: str = "password", own: Iterable[str] = ()) -> None:
    """Raise InvalidInput for a password that is not allowed. `own` are the user's names and addresses."""
    if len(password) not in LENGTH:
        raise InvalidInput(field, "password_length")
    words = [_SERVICE, *_words(own)]
    plain = password.casefold().strip()
    if plain in words or any(_is_guessable(typed, words) for typed in {password, plain.translate(_KEYS)}):
        raise InvalidInput(field, "password_guessable")


def _words(own: Iterable[str]) -> list[str]:
    """Return names and addresses, whole and split, in lower case."""
    whole = [text.casefold().strip() for text in own if text.strip()]
    return [*whole, *(part for text in whole for part in text.replace("@", " ").split())]


def _is_guessable(password: str, words: list[str]) -> bool:
    return int(zxcvbn.zxcvbn(password[:_READ], user_inputs=words)["guesses"]) < _GUESSES

"""Every error code has a message in both languages, and messages are written as the language does."""

import ast
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from models.services import errors, message_catalogue, messages
from models.services.errors import DomainError

ROOT = Path(__file__).resolve().parents[3]
MSK = timezone(timedelta(hours=3))


def raised_codes() -> set[str]:
    """Return the codes of every InvalidInput and NotFound in the sources that are written as a constant."""
    found = set()
    for folder in ("models", "portal", "ops", "jobs"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                    last = node.args[1 if node.func.id == "InvalidInput" and len(node.args) > 1 else 0]
                    if isinstance(last, ast.Constant) and node.func.id == "InvalidInput":
                        found.add(str(last.value))
                    if isinstance(last, ast.Constant) and node.func.id == "NotFound":
                        found.add(f"{last.value}_not_found")
    return found


def class_codes() -> set[str]:
    """Return the codes of the error classes themselves, one for each reason where a class has reasons."""
    found = set()
    for kind in vars(errors).values():
        if not (isinstance(kind, type) and issubclass(kind, DomainError)) or kind is DomainError:
            continue
        word = DomainError.kind.fget(kind.__new__(kind))  # type: ignore[attr-defined]
        found |= {f"{word.removesuffix('_refused')}_refused_{reason}" for reason in kind.REASONS} or {word}
    prefixed = {f"callback_refused_{reason}": f"callback_{reason}" for reason in errors.CallbackRefused.REASONS}
    return {prefixed.get(code, code) for code in found} - {"not_found", "invalid_input"}


def test_every_code_that_is_raised_has_a_message() -> None:
    raised = raised_codes() | class_codes()
    assert len(raised) > 100
    assert raised - message_catalogue.ERRORS.keys() == set()


@pytest.mark.parametrize(
    ("error", "english", "russian"),
    [
        (errors.InsufficientFunds(Decimal("1234.5")), "1,234.50 ZNC required", "1 234,50 ZNC"),
        (errors.DebtOpen(Decimal(18), Decimal(5)), "18.00 ZNC are still owed", "18,00 ZNC"),
        (errors.TokenEnded("expired"), "already expired", "уже истёк"),
        (errors.InvalidInput("name", "text_too_long", count=50), "at most 50 characters", "больше 50 символов"),
        (errors.NotFound("token"), "Token not found.", "Токен не найден."),
        (errors.ProviderRefused("Card expired."), "Card expired.", "Card expired."),
    ],
)
def test_a_message_is_written_as_the_language_does(error: DomainError, english: str, russian: str) -> None:
    assert english in messages.error_text(error)
    assert russian in messages.error_text(error, "ru").replace("\N{NO-BREAK SPACE}", " ")


def test_a_time_in_a_message_is_that_of_the_readers_zone() -> None:
    error = errors.PauseTooShort(datetime(2026, 3, 1, 9, 30, tzinfo=UTC))
    assert "09:30:00 UTC." in messages.error_text(error)
    assert "12:30:00 UTC+3." in messages.error_text(error, zone=MSK)


def test_for_logs_an_error_is_its_code_and_parameters() -> None:
    assert str(errors.InvalidInput("name", "text_too_long", count=50)) == "text_too_long (count=50)"
    assert str(errors.EmailTaken()) == "email_taken"

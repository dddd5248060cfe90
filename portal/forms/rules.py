"""Validators that ask the services' own rules, so that a form shows all of its mistakes at once.

A service refuses the first mistake that it finds. A field whose rule is checked here has its mistake shown together
with those of the other fields; the service checks it again, for the API and for everybody else.
"""

from collections.abc import Callable
from typing import Any

from wtforms import Field, ValidationError
from wtforms import Form as PlainForm

from models.services import text_validation
from models.services.errors import InvalidInput
from portal.i18n import gettext
from portal.presentation.error_messages import message_of

Validator = Callable[[PlainForm, Field], None]


def by_service(check: Callable[[Any], object]) -> Validator:
    """Refuse what a service's check refuses with InvalidInput; a field that is refused already has its words."""

    def validate(_form: PlainForm, field: Field) -> None:
        if field.errors or field.data is None:
            return
        try:
            check(field.data)
        except InvalidInput as error:
            raise ValidationError(message_of(error)) from None

    return validate


def one_line(at_least: int = 0) -> Validator:
    """Refuse a text that is too short, or that no line of text can hold."""

    def validate(_form: PlainForm, field: Field) -> None:
        if field.errors:
            return
        text = (field.data or "").strip()
        if len(text) < at_least:
            raise ValidationError(gettext("Use at least %(count)d characters.", count=at_least))
        if not text_validation.is_printable(text):
            raise ValidationError(gettext("Use only printable characters on a single line."))

    return validate

"""Validators that apply the services' rules, so that a form shows all errors at once.

A service raises the first error only; checking each field's rule in the form shows all of them. The service checks
again, also for the API.
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
    """Return a validator that shows the InvalidInput of a service's check; skipped after an earlier error."""

    def validate(_form: PlainForm, field: Field) -> None:
        if field.errors or field.data is None:
            return
        try:
            check(field.data)
        except InvalidInput as error:
            raise ValidationError(message_of(error)) from None

    return validate


def one_line(at_least: int = 0) -> Validator:
    """Return a validator for a minimum length and for printable text on one line."""

    def validate(_form: PlainForm, field: Field) -> None:
        if field.errors:
            return
        text = (field.data or "").strip()
        if len(text) < at_least:
            raise ValidationError(gettext("Use at least %(count)d characters.", count=at_least))
        if not text_validation.is_printable(text):
            raise ValidationError(gettext("Use only printable characters on a single line."))

    return validate

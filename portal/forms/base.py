"""Base class and shared fields of all forms."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from flask import g
from flask_babel import lazy_gettext as _
from wtforms import Form as PlainForm
from wtforms import HiddenField, IntegerField, ValidationError
from wtforms.validators import DataRequired, InputRequired, Length
from wtforms.widgets import HiddenInput

from models.services.errors import DomainError, InvalidInput
from portal.i18n import gettext, is_redraw, ngettext
from portal.presentation.error_messages import message_of

# WTForms' own messages, listed here for the extraction of translations.
WTFORMS_MESSAGES = (_("Not a valid choice."), _("Invalid Choice: could not coerce."))


class _Messages:
    """WTForms' own messages, in the reader's language."""

    def gettext(self, string: str) -> str:
        return gettext(string)

    def ngettext(self, singular: str, plural: str, n: int) -> str:
        return ngettext(singular, plural, n)


class Form(PlainForm):
    """Base form. CSRF is checked for every route by portal.extensions.csrf, not here."""

    class Meta:
        def get_translations(self, form: PlainForm) -> _Messages:  # noqa: ARG002 - the signature is WTForms' own
            return _Messages()

    def validate(self, extra_validators: Mapping[str, Sequence[Any]] | None = None) -> bool:
        """Check all fields, so that all errors are shown at once. False for a redraw (portal.i18n)."""
        is_fit = bool(super().validate(extra_validators))
        g.has_sent_form = True
        return is_fit and not is_redraw()

    def add_error(self, error: DomainError, field: str | None = None) -> None:
        """Show a domain error at `field` or at the field that it names; above the form when there is no such field."""
        name = field or (error.field if isinstance(error, InvalidInput) else "")
        if name in self._fields:
            bad = self._fields[name]
            bad.errors = [*bad.errors, message_of(error)]
        else:
            self.form_errors.append(message_of(error))


class UuidField(HiddenField):
    """A hidden UUID that identifies one submission, so that a form submitted twice acts once."""

    data: uuid.UUID | None  # type: ignore[assignment]  # a hidden field is text in WTForms' types, and a UUID here

    def process_formdata(self, valuelist: list[Any]) -> None:
        try:
            self.data = uuid.UUID(valuelist[0]) if valuelist else None
        except ValueError:
            self.data = None
            raise ValidationError(gettext("Reload the page and submit the form again.")) from None


class SeenField(IntegerField):
    """The generation of the secret on the page, so that a form submitted twice rotates it once."""

    widget = HiddenInput()


class SeenForm(Form):
    """Rotates a secret once per generation."""

    seen = SeenField(validators=[InputRequired()])


def required() -> DataRequired:
    """Return a validator that rejects an empty field."""
    return DataRequired(_("This field is required."))


def at_most(length: int) -> Length:
    """Return a validator for a maximum length in characters."""
    return Length(max=length, message=_("Too long: at most %(max)d characters."))

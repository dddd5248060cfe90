"""Forms to change settings. The service validates the value, as for config.toml."""

from typing import Any, Self

from flask import request
from flask_babel import lazy_gettext as _
from wtforms import Field, IntegerField, SelectField, StringField, TextAreaField
from wtforms.validators import InputRequired
from wtforms.widgets import HiddenInput

from models.services.errors import InvalidInput
from models.services.settings.overrides import Setting
from portal.forms.base import Form, at_most, required
from portal.forms.numbers import AmountField, plain_number
from portal.presentation.setting_labels import CHOICES, SETTINGS

# Separates duration and price on a line.
SEPARATOR = "="


class SettingForm(Form):
    """`seen` is the latest change when the page was rendered."""

    value: Field
    reason = StringField(
        _("Reason"),
        [required(), at_most(200)],
        description=_("Shown in the history."),
        render_kw={"autocomplete": "off"},
    )
    seen = IntegerField(widget=HiddenInput(), validators=[InputRequired()])

    @classmethod
    def of(cls, setting: Setting) -> Self:
        """Return the form with the field for the setting's type."""

        class Fitting(cls):  # type: ignore[misc, valid-type]  # a form is made for each kind
            value = _field(setting)

        defaults = {"value": _as_text(setting.value), "seen": setting.seen}
        made: Self = Fitting(request.form if request.method == "POST" else None, data=defaults)
        if isinstance(made.value, SelectField):
            made.value.choices = list(CHOICES[setting.key].items())
        return made

    def parsed(self) -> Any:
        """Return the value as in config.toml. Raises InvalidInput for a malformed price line."""
        text = str(self.value.data or "").strip()
        return _prices(text) if isinstance(self.value, PricesField) else text


class UndoForm(Form):
    reason = StringField(_("Reason"), [at_most(200)])


class PricesField(TextAreaField):
    """Lines of `hours = ZNC`."""


def _field(setting: Setting) -> Field:
    label, help_text = SETTINGS[setting.key]
    choices = CHOICES.get(setting.key)
    if choices:
        return SelectField(label, description=help_text)
    if isinstance(setting.value, dict):
        return PricesField(label, [required(), at_most(1000)], description=help_text, render_kw={"rows": 8})
    if setting.key.startswith("maintenance.words_"):
        return StringField(label, [at_most(300)], description=help_text, render_kw={"autocomplete": "off"})
    numeric = {"inputmode": "decimal", "autocomplete": "off"}
    return AmountField(label, [required(), at_most(20)], description=help_text, render_kw=numeric)


def _as_text(value: Any) -> str:
    """Return a value as the text of the form field."""
    if isinstance(value, dict):
        return "\n".join(f"{hours} {SEPARATOR} {price}" for hours, price in sorted(value.items()))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _prices(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        hours, separator, price = (part.strip() for part in line.partition(SEPARATOR))
        # `024` and `24` are the same duration.
        if not separator or not hours.isdecimal() or (hours := str(int(hours))) in found:
            raise InvalidInput("value", "setting_duration_lines_malformed")
        found[hours] = plain_number(price)
    return found

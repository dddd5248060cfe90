"""Form to start an inspection."""

from datetime import timedelta
from typing import Self

from flask import request
from flask_babel import format_timedelta
from flask_babel import lazy_gettext as _
from wtforms import SelectField, StringField

from models.config.operations import Inspection
from models.inspections import InspectionTarget
from portal.forms.base import Form, at_most, required
from portal.forms.rules import one_line
from portal.presentation import labels

MINUTES = (5, 15, 30, 60, 240, 480, 1440)


class InspectionForm(Form):
    target = SelectField(_("What to inspect"))
    name = StringField(
        _("Filter value"),
        [at_most(200)],
        description=_(
            "The beginning of a path or token, an e-mail address or a username. Leave empty for all traffic."
        ),
        render_kw={"autocomplete": "off", "spellcheck": "false", "placeholder": "/certificates/"},
    )
    minutes = SelectField(_("Duration of inspection"), coerce=int, default=15)
    reason = StringField(
        _("Reason"),
        [required(), at_most(200), one_line(3)],
        description=_("Recorded in the audit log."),
        render_kw={"autocomplete": "off"},
    )

    @classmethod
    def of(cls, rules: Inspection, **defaults: object) -> Self:
        """Return the form for a request, with the durations that the settings allow."""
        form = cls(request.form if request.method == "POST" else None, data=defaults)
        form.target.choices = [(each.value, labels.TARGETS[each]) for each in InspectionTarget]
        allowed = [minutes for minutes in MINUTES if minutes <= rules.at_most_minutes] or [rules.at_most_minutes]
        form.minutes.choices = [(each, format_timedelta(timedelta(minutes=each), threshold=1)) for each in allowed]
        return form

"""Choosing a time zone; a hidden field that the browser fills in takes it from there at first."""

from typing import Self

from flask import request
from flask_babel import lazy_gettext as _
from wtforms import HiddenField, SelectField

from models import clock, time_zones
from portal.forms.base import Form


def browser_zone() -> HiddenField:
    """Take what the browser calls its time zone. `static/js/page.js` fills it in; without a script it stays empty."""
    return HiddenField(render_kw={"data-browser-zone": True})


class TimeZoneForm(Form):
    time_zone = SelectField(_("Time zone"), render_kw={"autocomplete": "off"})

    @classmethod
    def for_user(cls, chosen: str | None) -> Self:
        """Make the form for a request, with every zone and its present difference from UTC."""
        form = cls(request.form if request.method == "POST" else None, data={"time_zone": chosen or time_zones.DEFAULT})
        now = clock.now()
        form.time_zone.choices = [(name, time_zones.label_of(now, name)) for name in sorted(time_zones.names())]
        return form

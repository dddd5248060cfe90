"""Time zone form, and the hidden field with which the browser reports its zone."""

from typing import Self

from flask import request
from flask_babel import lazy_gettext as _
from wtforms import HiddenField, SelectField

from models import clock, time_zones
from portal.forms.base import Form


def browser_zone() -> HiddenField:
    """Return the hidden field for the browser's time zone, which `static/js/page.js` fills in."""
    return HiddenField(render_kw={"data-browser-zone": True})


class TimeZoneForm(Form):
    time_zone = SelectField(_("Time zone"), render_kw={"autocomplete": "off"})

    @classmethod
    def for_user(cls, chosen: str | None) -> Self:
        """Return the form for a request, with every zone and its current UTC offset."""
        form = cls(request.form if request.method == "POST" else None, data={"time_zone": chosen or time_zones.DEFAULT})
        now = clock.now()
        form.time_zone.choices = [(name, time_zones.label_of(now, name)) for name in sorted(time_zones.names())]
        return form

"""Form for notification preferences."""

from flask_babel import lazy_gettext as _

from portal.forms.base import Form, at_most, required
from portal.forms.numbers import AmountField


class ThresholdForm(Form):
    """The balance below which the user is notified; the view reads the switches from the request."""

    low_balance = AmountField(
        _("Notify me when the balance falls below"),
        [required(), at_most(20)],
        description=_("0 turns this off."),
        render_kw={"inputmode": "decimal", "autocomplete": "off"},
    )

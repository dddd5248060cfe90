"""What somebody wants to be told."""

from flask_babel import lazy_gettext as _

from portal.forms.base import Form, at_most, required
from portal.forms.numbers import AmountField


class ThresholdForm(Form):
    """Below which balance the user is told; the switches beside it are read from the request by their topics."""

    low_balance = AmountField(
        _("Notify me when the balance falls below"),
        [required(), at_most(20)],
        description=_("0 turns this off."),
        render_kw={"inputmode": "decimal", "autocomplete": "off"},
    )

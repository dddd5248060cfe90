"""What admins fill in."""

from flask_babel import lazy_gettext as _
from wtforms import StringField

from portal.forms.base import Form, UuidField, at_most, required
from portal.forms.shop import MONEY


class AdjustForm(Form):
    amount = StringField(
        _("Amount in ZNC"),
        [required(), at_most(20)],
        description=_("12.50 gives, -12.50 takes."),
        render_kw=MONEY,
    )
    reason = StringField(
        _("Reason"),
        [required(), at_most(200)],
        description=_("The user sees it in the list of transactions."),
        render_kw={"autocomplete": "off"},
    )
    key = UuidField(validators=[required()])


class RefundForm(Form):
    amount = StringField(_("Amount in roubles"), [required(), at_most(20)], render_kw=MONEY)
    reason = StringField(
        _("Reason"),
        [required(), at_most(200)],
        description=_("For the books; the payer does not see it."),
        render_kw={"autocomplete": "off"},
    )
    key = UuidField(validators=[required()])

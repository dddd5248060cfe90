"""Forms of two-factor authentication, and of account deletion."""

from flask_babel import lazy_gettext as _
from wtforms import StringField
from wtforms.validators import Optional

from portal.forms.accounts import current_password
from portal.forms.base import Form, SeenField, at_most, required
from portal.forms.time_zones import browser_zone


def code_field(*, recovery: bool = True) -> StringField:
    """Return the field for a code of the app, or with `recovery` also a recovery code."""
    return StringField(
        _("Code"),
        [required(), at_most(32)],
        description=_("Six digits from your app, or a recovery code.") if recovery else _("Six digits from your app."),
        render_kw={
            "autocomplete": "one-time-code",
            "inputmode": "text" if recovery else "numeric",
            "autocapitalize": "none",
            "spellcheck": "false",
        },
    )


class DeleteForm(Form):
    current_password = current_password()
    # Only for users with a second factor.
    code = StringField(_("Code"), [at_most(32)], render_kw={"autocomplete": "one-time-code"})


class CodeForm(Form):
    code = code_field()


class LoginCodeForm(CodeForm):
    time_zone = browser_zone()


class FirstCodeForm(Form):
    code = code_field(recovery=False)


class BeginForm(Form):
    current_password = current_password()


class RenewCodesForm(Form):
    """Password and code, and the generation of recovery codes on the page; a second button turns two-factor off."""

    current_password = current_password()
    code = code_field()
    seen = SeenField(validators=[Optional()])

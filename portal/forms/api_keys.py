"""Form to create an API key."""

from typing import Self

from flask import request
from flask_babel import lazy_gettext as _
from wtforms import SelectField, StringField

from models.api_keys import KeyScope
from models.services.accounts.api_keys import NAME_LENGTH
from models.users import User
from portal.forms.base import Form, UuidField, at_most, required
from portal.forms.rules import one_line

SCOPES = {
    KeyScope.READ: _("Read: balance, tokens, transactions, statistics"),
    KeyScope.BUY: _("Read and write: buy and revoke tokens, top up"),
    KeyScope.ADMIN: _("Full admin access"),
}
DAYS = {30: _("30 days"), 90: _("90 days"), 365: _("1 year"), 0: _("No expiry")}


class KeyForm(Form):
    name = StringField(
        _("Name"),
        [required(), at_most(NAME_LENGTH), one_line(1)],
        description=_("Where it will be used, for example a script or server."),
        render_kw={"autocomplete": "off"},
    )
    scope = SelectField(_("Permissions"))
    days = SelectField(_("Valid for"), coerce=int, choices=list(DAYS.items()), default=90)
    # The id of the new key, so that a form submitted twice creates one.
    key_id = UuidField(validators=[required()])

    @classmethod
    def of(cls, user: User, **defaults: object) -> Self:
        """Return the form with the scopes allowed for this user."""
        form = cls(request.form if request.method == "POST" else None, data=defaults)
        own = [scope for scope in KeyScope if user.is_superuser or scope is not KeyScope.ADMIN]
        form.scope.choices = [(scope.value, SCOPES[scope]) for scope in own]
        return form

"""Making an API key."""

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
    KeyScope.READ: _("Look: balance, tokens, transactions, figures"),
    KeyScope.BUY: _("Look and spend: buy and revoke tokens, top up"),
    KeyScope.ADMIN: _("Everything that an admin may do"),
}
DAYS = {30: _("30 days"), 90: _("90 days"), 365: _("A year"), 0: _("Until I end it")}


class KeyForm(Form):
    name = StringField(
        _("Name"),
        [required(), at_most(NAME_LENGTH), one_line(1)],
        description=_("What will use it: a script, a server."),
        render_kw={"autocomplete": "off"},
    )
    scope = SelectField(_("What it may do"))
    days = SelectField(_("How long it lasts"), coerce=int, choices=list(DAYS.items()), default=90)
    # Names the new key, so that a form sent twice makes one.
    key_id = UuidField(validators=[required()])

    @classmethod
    def of(cls, user: User, **defaults: object) -> Self:
        """Return the form with the scopes that this user's keys can have."""
        form = cls(request.form if request.method == "POST" else None, data=defaults)
        own = [scope for scope in KeyScope if user.is_superuser or scope is not KeyScope.ADMIN]
        form.scope.choices = [(scope.value, SCOPES[scope]) for scope in own]
        return form

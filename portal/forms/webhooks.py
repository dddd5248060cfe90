"""Forms to add and change a webhook."""

from flask_babel import lazy_gettext as _
from wtforms import StringField
from wtforms.validators import ValidationError

from models.services.webhooks import url_policy
from portal.forms.base import Form, UuidField, at_most, required
from portal.forms.rules import by_service
from portal.request import context


def _check_url(url: str) -> None:
    url_policy.require_allowed(url, context.settings())


class EndpointForm(Form):
    """The address of a webhook; the view reads the topics from the request."""

    url = StringField(
        _("Address"),
        [required(), at_most(500), by_service(_check_url)],
        description=_("Receives a POST request with JSON. Must be reachable from the internet."),
        render_kw={"type": "url", "placeholder": "https://example.org/hook", "autocomplete": "off"},
    )


class NewEndpointForm(EndpointForm):
    """Form for a new webhook; its id makes a form submitted twice create one."""

    endpoint_id = UuidField()

    def validate_endpoint_id(self, field: UuidField) -> None:
        """Reject a form without its id."""
        if field.data is None:
            raise ValidationError(_("Reload the page and submit the form again."))

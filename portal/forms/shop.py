"""Forms for purchases, extensions, gift codes, secrets and top-ups."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Self

from flask import request
from flask_babel import lazy_gettext as _
from wtforms import BooleanField, HiddenField, RadioField, SelectField, StringField
from wtforms.validators import InputRequired

from models.config.settings import Settings
from models.services.errors import InvalidInput
from models.services.ledger.money import parse_amount
from models.services.payments.providers import limits
from models.services.tokens.purchase import NAME_LENGTH
from portal.forms.base import Form, SeenForm, UuidField, at_most, required
from portal.forms.numbers import AmountField
from portal.forms.rules import one_line
from portal.i18n import gettext
from portal.presentation import formatting, labels

MONEY = {"inputmode": "decimal", "autocomplete": "off"}


class DisplayedPrices(HiddenField):
    """The prices shown on the page, so that a changed price is not charged unseen. Renders the current ones."""

    now: Mapping[int, Decimal] = MappingProxyType({})

    def _value(self) -> str:
        return " ".join(f"{key}={price:.2f}" for key, price in self.now.items())

    def of(self, key: int) -> Decimal | None:
        """Return the submitted price of one choice; None when it is missing or malformed."""
        shown = dict(pair.split("=", 1) for pair in (self.data or "").split() if "=" in pair)
        try:
            return parse_amount(shown[str(key)])
        except (KeyError, InvalidInput):
            return None


class BuyForm(Form):
    """Purchase of a token; the service checks choices and prices again."""

    duration_hours = RadioField(_("Duration"), [InputRequired(_("Choose a duration."))], coerce=int)
    scope = RadioField(_("Access scope"), [InputRequired(_("Choose an access scope."))])
    name = StringField(
        _("Name"),
        [at_most(NAME_LENGTH), one_line()],
        description=_("For your own reference, for example where you will use it. Optional."),
        render_kw={"autocomplete": "off", "maxlength": NAME_LENGTH},
    )
    coupon = StringField(_("Coupon"), [at_most(32)], description=_("Optional."), render_kw={"autocomplete": "off"})
    token_id = UuidField(validators=[required()])
    shown = DisplayedPrices()

    @classmethod
    def for_sale(cls, settings: Settings, **defaults: object) -> Self:
        """Return the form for a request, with the durations on sale."""
        form = cls(request.form if request.method == "POST" else None, data=defaults)
        form.duration_hours.choices = [(hours, formatting.duration(hours)) for hours in sorted(settings.prices.znc)]
        form.scope.choices = [(scope, formatting.scope_name(scope)) for scope in settings.scopes]
        form.shown.now = settings.prices.znc
        return form


class ExtendForm(Form):
    """Extension of a token; choices and prices come from the settings."""

    hours = RadioField(_("Extend by"), [InputRequired(_("Choose a duration."))], coerce=int)
    key = UuidField(validators=[required()])
    shown = DisplayedPrices()

    @classmethod
    def for_sale(cls, settings: Settings, **defaults: object) -> Self:
        """Return the form for a request, with the durations on sale."""
        form = cls(request.form if request.method == "POST" else None, data=defaults)
        form.hours.choices = [(hours, formatting.duration(hours)) for hours in sorted(settings.prices.znc)]
        form.shown.now = settings.prices.znc
        return form


class BundleForm(Form):
    """Purchase of a bundle; the id of the purchase makes a form submitted twice buy once."""

    coupon = StringField(_("Coupon"), [at_most(32)], description=_("Optional."), render_kw={"autocomplete": "off"})
    purchase_id = UuidField(validators=[required()])
    shown = DisplayedPrices()


class GiftForm(Form):
    code = StringField(_("Gift code"), [required(), at_most(40)], render_kw={"autocomplete": "off"})


class NameForm(Form):
    name = StringField(_("Name"), render_kw={"autocomplete": "off", "maxlength": NAME_LENGTH})


class RotateForm(SeenForm):
    """Rotation of a secret, with an option to revoke the old one immediately."""

    at_once = BooleanField(_("Revoke the old secret immediately (it may have been exposed)"))


class TopUpForm(Form):
    amount = AmountField(
        _("Amount in ZNC"),
        [required(), at_most(20)],
        render_kw=MONEY,
    )
    provider = SelectField(_("Payment method"))
    next = HiddenField()

    @classmethod
    def with_providers(cls, settings: Settings, **defaults: object) -> Self:
        """Return the form for a request, with the enabled providers."""
        form = cls(request.form if request.method == "POST" else None, data=defaults)
        form.provider.choices = [(name, _provider_label(name, settings)) for name in settings.payments.providers]
        if form.provider.choices and form.provider.data in {None, "None"}:
            # The page omits the choice when there is only one.
            form.provider.data = form.provider.choices[0][0]
        return form


def _provider_label(provider: str, settings: Settings) -> str:
    """Return a provider's label with its limits."""
    least, most = limits.bounds_znc(provider, settings)
    name = str(labels.PROVIDERS.get(provider, provider))
    return gettext(
        "%(name)s: %(least)s to %(most)s ZNC", name=name, least=formatting.price(least), most=formatting.price(most)
    )

"""Buying a token and topping up."""

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
from models.services.payments import limits
from models.services.tokens.purchase import NAME_LENGTH
from portal.forms.base import Form, SeenForm, UuidField, at_most, required
from portal.forms.numbers import AmountField
from portal.forms.rules import one_line
from portal.i18n import gettext
from portal.presentation import formatting, labels

MONEY = {"inputmode": "decimal", "autocomplete": "off"}


class DisplayedPrices(HiddenField):
    """The prices that the page showed, so that nobody pays another one unseen. It always writes those of now."""

    now: Mapping[int, Decimal] = MappingProxyType({})

    def _value(self) -> str:
        return " ".join(f"{key}={price:.2f}" for key, price in self.now.items())

    def of(self, key: int) -> Decimal | None:
        """Return what the sent page showed for one choice; None when it showed nothing that is a price."""
        shown = dict(pair.split("=", 1) for pair in (self.data or "").split() if "=" in pair)
        try:
            return parse_amount(shown[str(key)])
        except (KeyError, InvalidInput):
            return None


class BuyForm(Form):
    """Choices and prices come from the settings; the service checks them again."""

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
        """Make the form for a request, with what is for sale."""
        form = cls(request.form if request.method == "POST" else None, data=defaults)
        form.duration_hours.choices = [(hours, formatting.duration(hours)) for hours in sorted(settings.prices.znc)]
        form.scope.choices = [(scope, formatting.scope_name(scope)) for scope in settings.scopes]
        form.shown.now = settings.prices.znc
        return form


class ExtendForm(Form):
    """How much time to add; choices and prices come from the settings."""

    hours = RadioField(_("Extend by"), [InputRequired(_("Choose a duration."))], coerce=int)
    key = UuidField(validators=[required()])
    shown = DisplayedPrices()

    @classmethod
    def for_sale(cls, settings: Settings, **defaults: object) -> Self:
        """Make the form for a request, with what is for sale."""
        form = cls(request.form if request.method == "POST" else None, data=defaults)
        form.hours.choices = [(hours, formatting.duration(hours)) for hours in sorted(settings.prices.znc)]
        form.shown.now = settings.prices.znc
        return form


class BundleForm(Form):
    """Buying one bundle: the id names the purchase, so that a form sent twice buys once."""

    coupon = StringField(_("Coupon"), [at_most(32)], description=_("Optional."), render_kw={"autocomplete": "off"})
    purchase_id = UuidField(validators=[required()])
    shown = DisplayedPrices()


class GiftForm(Form):
    code = StringField(_("Gift code"), [required(), at_most(40)], render_kw={"autocomplete": "off"})


class NameForm(Form):
    name = StringField(_("Name"), render_kw={"autocomplete": "off", "maxlength": NAME_LENGTH})


class RotateForm(SeenForm):
    """Also whether the old secret ends with the replacement, as when others have seen it."""

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
        """Make the form for a request, with the providers that are switched on."""
        form = cls(request.form if request.method == "POST" else None, data=defaults)
        form.provider.choices = [(name, _provider_label(name, settings)) for name in settings.payments.providers]
        if form.provider.choices and form.provider.data in {None, "None"}:
            # A page may leave the choice out when there is only one.
            form.provider.data = form.provider.choices[0][0]
        return form


def _provider_label(provider: str, settings: Settings) -> str:
    """Name a way to pay, and how much can be paid by it."""
    least, most = limits.bounds_znc(provider, settings)
    name = str(labels.PROVIDERS.get(provider, provider))
    return gettext(
        "%(name)s: %(least)s to %(most)s ZNC", name=name, least=formatting.price(least), most=formatting.price(most)
    )

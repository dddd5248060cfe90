"""Forms of the admin area."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from functools import partial
from typing import Any, Self

from flask import request
from flask_babel import lazy_gettext as _
from wtforms import DateField, DateTimeLocalField, SelectField, StringField
from wtforms.validators import InputRequired, Optional

from models.announcements import Level
from models.config.settings import Settings
from models.services.errors import InvalidInput
from models.services.ledger.money import parse_amount, require_amount
from models.services.notifications import announcements
from models.services.promotions import coupons, gift_codes
from models.services.tokens import bundles
from portal.forms.base import Form, UuidField, at_most, required
from portal.forms.numbers import AmountField, PlainDecimalField, WholeNumberField
from portal.forms.rules import by_service, one_line
from portal.forms.shop import MONEY
from portal.presentation import formatting, labels


class AdjustForm(Form):
    amount = AmountField(
        _("Amount in ZNC"),
        [required(), at_most(20), by_service(partial(parse_amount, signed=True))],
        description=_("A positive amount credits the wallet, a negative one debits it."),
        render_kw=MONEY,
    )
    reason = StringField(
        _("Reason"),
        [required(), at_most(200), one_line(3)],
        description=_("The user sees this in their transactions."),
        render_kw={"autocomplete": "off"},
    )
    key = UuidField(validators=[required()])


class RefundForm(Form):
    amount = AmountField(_("Amount in rubles"), [required(), at_most(20), by_service(parse_amount)], render_kw=MONEY)
    reason = StringField(
        _("Reason"),
        [required(), at_most(200), one_line(3)],
        description=_("Internal; not visible to the payer."),
        render_kw={"autocomplete": "off"},
    )
    key = UuidField(validators=[required()])


class ChargebackForm(Form):
    amount = StringField(_("Amount in rubles"), [required(), at_most(20)], render_kw=MONEY)
    reference = StringField(
        _("Reference"),
        [required(), at_most(120)],
        description=_("The bank's or provider's identifier of the chargeback."),
        render_kw={"autocomplete": "off"},
    )
    reason = StringField(_("Reason"), [required(), at_most(200)], render_kw={"autocomplete": "off"})
    key = UuidField(validators=[required()])


class BundleEditForm(Form):
    name = StringField(_("Name"), [required(), at_most(50), one_line(1)])
    description = StringField(_("Description"), [at_most(200), one_line()], default="")
    token_count = WholeNumberField(
        _("Tokens"), [InputRequired(_("This field is required.")), by_service(bundles.check_token_count)]
    )
    duration_hours = SelectField(_("Duration"), coerce=int)
    scope = SelectField(_("Access scope"))
    discount_percent = PlainDecimalField(
        _("Discount in percent"),
        [InputRequired(_("This field is required.")), by_service(bundles.check_discount)],
        places=2,
    )

    @classmethod
    def with_choices(cls, settings: Settings, **defaults: object) -> Self:
        """Return the form for a request, with the durations and scopes on sale."""
        form = cls(request.form if request.method == "POST" else None, data=defaults)
        form.duration_hours.choices = [(hours, formatting.duration(hours)) for hours in sorted(settings.prices.znc)]
        form.scope.choices = [(scope, formatting.scope_name(scope)) for scope in settings.scopes]
        return form


class CouponForm(Form):
    code = StringField(_("Code"), [required(), at_most(32), one_line(3)], render_kw={"autocomplete": "off"})
    percent = PlainDecimalField(_("Percent off"), [Optional(), by_service(coupons.check_percent)], places=2)
    amount = PlainDecimalField(
        _("ZNC off"), [Optional(), by_service(require_amount)], places=2, description=_("Enter one of the two.")
    )
    uses_per_user = WholeNumberField(_("Uses per user"), [Optional(), by_service(coupons.check_limit)], default=1)
    uses_in_all = WholeNumberField(
        _("Total uses"), [Optional(), by_service(coupons.check_limit)], description=_("Leave empty for no limit.")
    )
    valid_until = DateField(_("Valid until end of day (UTC)"), [Optional()])

    def validate(self, extra_validators: Mapping[str, Sequence[Any]] | None = None) -> bool:
        """Require exactly one kind of discount."""
        is_fit = super().validate(extra_validators)
        if not (self.percent.errors or self.amount.errors):
            try:
                coupons.check_one_of(self.percent.data, self.amount.data)
            except InvalidInput as error:
                self.add_error(error)
                return False
        return is_fit


class GiftCodesForm(Form):
    amount = AmountField(_("Amount in ZNC"), [required(), at_most(20), by_service(parse_amount)], render_kw=MONEY)
    count = WholeNumberField(
        _("Number of codes"),
        [InputRequired(_("This field is required.")), by_service(gift_codes.require_valid_count)],
        default=1,
    )
    uses_each = WholeNumberField(
        _("Uses per code"),
        [InputRequired(_("This field is required.")), by_service(gift_codes.check_uses)],
        default=1,
    )
    valid_until = DateField(_("Valid until end of day (UTC)"), [Optional()])
    note = StringField(_("Purpose"), [required(), at_most(200), one_line(3)], render_kw={"autocomplete": "off"})
    key = UuidField(validators=[required()])


class ReasonForm(Form):
    reason = StringField(
        _("Reason"),
        [required(), at_most(200), one_line(3)],
        description=_("The owner will see it."),
        render_kw={"autocomplete": "off"},
    )


class NoteForm(Form):
    text = StringField(_("Comment"), [required(), at_most(1000), one_line(3)], render_kw={"autocomplete": "off"})


class AnnouncementForm(Form):
    level = SelectField(_("Severity"))
    words_en = StringField(
        _("English text"), [required(), at_most(300), one_line(3)], render_kw={"autocomplete": "off"}
    )
    words_ru = StringField(
        _("Russian text"), [required(), at_most(300), one_line(3)], render_kw={"autocomplete": "off"}
    )
    starts_at = DateTimeLocalField(_("Starts"), [Optional()], description=_("Leave empty to start now."))
    ends_at = DateTimeLocalField(_("Expires"), [Optional()], description=_("Leave empty to show until withdrawn."))
    key = UuidField()

    def validate_ends_at(self, field: DateTimeLocalField) -> None:
        """Reject an end that is in the past or before the start."""
        starts_at = self.starts_at.data and self.starts_at.data.replace(tzinfo=UTC)
        by_service(lambda end: announcements.check_end(starts_at, end.replace(tzinfo=UTC)))(self, field)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.level.choices = [(level.value, labels.LEVELS[level]) for level in Level]

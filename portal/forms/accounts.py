"""Forms for registration, login, passwords and e-mail addresses."""

from functools import partial

from flask_babel import lazy_gettext as _
from wtforms import EmailField, HiddenField, PasswordField, StringField
from wtforms.validators import EqualTo, Length, ValidationError

from models.services.accounts import password_policy, users
from models.services.errors import UsernameTaken
from models.services.promotions import referrals
from portal.forms.base import Form, at_most, required
from portal.forms.rules import by_service
from portal.forms.time_zones import browser_zone
from portal.presentation.error_messages import message_of
from portal.request import context

# Longer passwords are rejected before hashing, which would cost CPU time.
MAX_PASSWORD_LENGTH = 128


class RegisterForm(Form):
    email = EmailField(
        _("E-mail"),
        [required(), at_most(254), by_service(users.check_email)],
        render_kw={"autocomplete": "email", "autofocus": True},
    )
    username = StringField(
        _("Username"),
        [required(), at_most(50), by_service(users.check_username)],
        description=_("3 to 50 letters, digits, dots, hyphens or underscores."),
        render_kw={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"},
    )
    password = PasswordField(
        _("Password"),
        [required(), Length(8, MAX_PASSWORD_LENGTH, _("Use 8 to 128 characters."))],
        description=_("At least 8 characters. A few random words are easy to remember."),
        render_kw={"autocomplete": "new-password"},
    )
    referral_code = StringField(
        _("Referral code"),
        [at_most(12)],
        description=_("Optional. From the person who invited you."),
        render_kw={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"},
    )
    time_zone = browser_zone()

    def validate_username(self, field: StringField) -> None:
        """Reject a taken username; the service checks again, and the unique index decides races."""
        if not field.errors and users.username_taken(context.session(), str(field.data)):
            raise ValidationError(message_of(UsernameTaken()))

    def validate_referral_code(self, field: StringField) -> None:
        """Reject an unknown referral code."""
        by_service(partial(referrals.referrer_of, context.session()))(self, field)

    def validate_password(self, field: PasswordField) -> None:
        """Reject passwords that are easy to guess, such as the username or address of the same form."""
        own = (self.email.data or "", self.username.data or "")
        by_service(partial(password_policy.check, own=own))(self, field)


class LoginForm(Form):
    email = EmailField(
        _("E-mail"), [required(), at_most(254)], render_kw={"autocomplete": "username", "autofocus": True}
    )
    password = PasswordField(
        _("Password"), [required(), at_most(MAX_PASSWORD_LENGTH)], render_kw={"autocomplete": "current-password"}
    )
    time_zone = browser_zone()


class AddressForm(Form):
    email = EmailField(
        _("E-mail"), [required(), at_most(254)], render_kw={"autocomplete": "username", "autofocus": True}
    )


def current_password() -> PasswordField:
    """Return the field for the current password, which sensitive changes require."""
    return PasswordField(
        _("Current password"),
        [required(), at_most(MAX_PASSWORD_LENGTH)],
        render_kw={"autocomplete": "current-password"},
    )


class EmailForm(Form):
    email = EmailField(
        _("New e-mail address"),
        [required(), at_most(254), by_service(users.check_email)],
        render_kw={"autocomplete": "email", "autofocus": True},
    )
    current_password = current_password()


class PasswordForm(Form):
    current_password = current_password()
    new_password = PasswordField(
        _("New password"),
        [required(), Length(8, MAX_PASSWORD_LENGTH, _("Use 8 to 128 characters.")), by_service(password_policy.check)],
        description=_("At least 8 characters."),
        render_kw={"autocomplete": "new-password"},
    )
    repeated = PasswordField(
        _("Confirm new password"),
        [required(), EqualTo("new_password", _("The passwords do not match."))],
        render_kw={"autocomplete": "new-password"},
    )


class NewPasswordForm(PasswordForm):
    current_password = None  # type: ignore[assignment]  # WTForms' way to leave an inherited field out
    shown = HiddenField()

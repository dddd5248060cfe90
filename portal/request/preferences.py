"""Language and theme of a visitor: stored in cookies, and changed on any page without losing form input.

The page that answers a form cannot be fetched again with its input. There the menu submits the form itself with the
choice: such a request is a redraw, changes nothing (`Form.validate` returns False) and shows the same page and input in
the new language.
"""

from flask import Flask, request
from flask import Response as FlaskResponse
from werkzeug.wrappers import Response

from models.translations import LANGUAGES
from portal import i18n
from portal.request import context

YEAR_SECONDS = 365 * 24 * 3600
CHOICES = ((i18n.COOKIE, LANGUAGES), (i18n.THEME_COOKIE, i18n.THEMES))


def init_app(app: Flask) -> None:
    """Store the choice of a redraw."""
    app.before_request(_keep_language)
    app.after_request(_keep_choice)


def keep(response: Response, prefix: str = "") -> Response:
    """Set the cookies for the choices of the submitted form, whose field names begin with `prefix`."""
    for name, known in CHOICES:
        if (value := request.form.get(prefix + name, "")) in known:
            secure = context.settings().platform.is_production
            response.set_cookie(name, value, max_age=YEAR_SECONDS, secure=secure, httponly=True, samesite="Lax")
    return response


def keep_language_of_mails(language: str) -> None:
    """Store the language for e-mails to the signed-in user, if any."""
    user = context.maybe_user()
    if user is not None and language in LANGUAGES:
        with context.transaction():
            user.language = language


def _keep_language() -> None:
    if i18n.is_redraw() and (language := request.form.get(i18n.REDRAW_PREFIX + i18n.COOKIE)):
        keep_language_of_mails(language)


def _keep_choice(response: FlaskResponse) -> FlaskResponse:
    if i18n.is_redraw():
        keep(response, i18n.REDRAW_PREFIX)
    return response

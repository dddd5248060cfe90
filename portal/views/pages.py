"""Pages that anybody may see, and how they look to him."""

from datetime import timedelta

from flask import Blueprint, current_app, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models import clock
from models.languages import LANGUAGES
from models.services.paging import Page
from portal import current, i18n
from portal.forms.accounts import LoginForm, RegisterForm
from portal.i18n import gettext
from portal.redirects import local_path

blueprint = Blueprint("pages", __name__)
development = Blueprint("development", __name__)

YEAR_SECONDS = 365 * 24 * 3600


@blueprint.get("/")
def landing() -> str:
    """Show what is sold, for how much, and how to use it."""
    return render_template("pages/landing.html", prices=sorted(current.settings().prices.znc.items()))


@blueprint.post("/preferences")
def preferences() -> Response:
    """Keep the visitor's language or theme in a cookie of its own, so that it outlives a login.

    Mails follow the language that their reader set last.
    """
    user = current.maybe_user()
    if user is not None and (language := request.form.get(i18n.COOKIE, "")) in LANGUAGES:
        with current.transaction():
            user.language = language
    response = redirect(local_path(request.form.get("next"), url_for("pages.landing")), 303)
    for name, known in ((i18n.COOKIE, LANGUAGES), (i18n.THEME_COOKIE, i18n.THEMES)):
        if (value := request.form.get(name, "")) in known:
            secure = current.settings().platform.is_production
            response.set_cookie(name, value, max_age=YEAR_SECONDS, secure=secure, httponly=True, samesite="Lax")
    return response


@blueprint.get("/favicon.ico")
def favicon() -> Response:
    """Answer browsers that ask here whatever the page says."""
    return current_app.send_static_file("img/mark.svg")


@blueprint.get("/robots.txt")
def robots() -> Response:
    """Let search engines read the landing page only."""
    response = make_response("User-agent: *\nAllow: /$\nAllow: /static/\nDisallow: /\n")
    response.mimetype = "text/plain"
    return response


@development.get("/styleguide")
def styleguide() -> str:
    """Show every piece that pages are made of."""
    login = LoginForm(data={"email": "alice@example.org"})
    faulty = RegisterForm(data={"email": "alice"})
    faulty.email.errors = [gettext("This does not look like an e-mail address.")]
    return render_template(
        "pages/styleguide.html",
        login=login,
        faulty=faulty,
        moment=clock.now(),
        earlier=clock.now() - timedelta(minutes=95),
        days=[str(day) for day in range(1, 31)],
        received=[day * day % 97 * 2_000_000 for day in range(30)],
        sent=[day * day % 31 * 900_000 for day in range(30)],
        sample=Page(["one", "two"], total=52, limit=2, offset=2),
    )

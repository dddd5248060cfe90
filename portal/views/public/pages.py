"""Public pages: landing page, preferences, robots.txt, style guide."""

import logging
from datetime import timedelta

from flask import Blueprint, current_app, make_response, redirect, render_template, request, url_for
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response

from models import clock
from models.services.gateway import outages
from models.services.pagination import Page
from portal import i18n
from portal.forms.accounts import LoginForm, RegisterForm
from portal.i18n import gettext
from portal.request import context, error_pages, preferences
from portal.request.safe_redirects import local_path

blueprint = Blueprint("pages", __name__)
development = Blueprint("development", __name__)

logger = logging.getLogger(__name__)

AVAILABILITY_DAYS = 30


@blueprint.get("/")
def landing() -> str:
    """Show prices, usage and the availability of the service."""
    prices = sorted(context.settings().prices.znc.items())
    return render_template("pages/landing.html", prices=prices, service=_availability())


def _availability() -> outages.Availability | None:
    """Return the availability record; None while the database is down, so that the page still renders."""
    try:
        return outages.load_availability(
            context.session(), days=AVAILABILITY_DAYS, gap=context.settings().upstream.probe_gap
        )
    except SQLAlchemyError:
        logger.warning("the landing page shows no availability: the database is not responding")
        context.session().rollback()
        return None


@blueprint.post("/preferences", endpoint="preferences")
def choose() -> Response:
    """Store the visitor's language or theme in a cookie that outlives a login; e-mails use the same language."""
    preferences.keep_language_of_mails(request.form.get(i18n.COOKIE, ""))
    return preferences.keep(redirect(local_path(request.form.get("next"), url_for("pages.landing")), 303))


@blueprint.get("/favicon.ico")
def favicon() -> Response:
    """Return the icon for browsers that ignore the page's link to it."""
    return current_app.send_static_file("img/mark.svg")


@blueprint.get("/robots.txt")
def robots() -> Response:
    """Allow search engines to index the landing page only."""
    response = make_response("User-agent: *\nAllow: /$\nAllow: /static/\nDisallow: /\n")
    response.mimetype = "text/plain"
    return response


@development.get("/styleguide")
def styleguide() -> str:
    """Show every component of the pages."""
    login = LoginForm(data={"email": "alice@example.org"})
    faulty = RegisterForm(data={"email": "alice"})
    faulty.email.errors = [gettext("Enter a valid e-mail address.")]
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


@development.get("/styleguide/errors/<status>")
def error(status: str) -> Response:
    """Show the error page of a status."""
    title, text = error_pages.PAGES.get(int(status) if status.isdecimal() else 0, error_pages.PAGES[404])
    response = make_response(render_template("errors/error.html", status=status, title=title, text=text))
    response.headers["Cache-Control"] = "no-store"
    return response

"""The office: what admins see and do. Every route here is 403 for a user."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask import Response as FlaskResponse
from werkzeug.wrappers import Response

from models.services.admin import dashboard as admin_dashboard
from models.services.tokens import outage_credit
from portal import access, current, parts, tables
from portal.i18n import gettext as _
from portal.paging import window

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
blueprint.before_request(access.require_admin)
OUTAGE_COLUMNS = ("opened_at", "closed_at", "credited_at", "credited_tokens", "credited_seconds")


@blueprint.get("/")
def index() -> str:
    """Show what needs a person, the figures of the shop with the ways to their lists, and how each part is."""
    found = admin_dashboard.of(current.session(), current.settings())
    return render_template("admin/index.html", desk=found, parts=parts.look())


@blueprint.post("/verify")
def verify() -> Response:
    """Have the books verified now instead of next night."""
    if current.later("jobs.upkeep.verify_ledger"):
        flash(_("The books are being verified. The result will stand here in a moment."), "info")
    else:
        flash(_("Redis does not answer. Please try again later."), "bad")
    return redirect(url_for("admin.index"), 303)


@blueprint.get("/outages")
def outage_list() -> str | FlaskResponse:
    """List the upstream's outages, with what was credited for each."""
    if tables.is_wanted():
        found = tables.every(outage_credit.listing)
        rows = (tuple(getattr(outage, name) for name in OUTAGE_COLUMNS) for outage in found)
        return tables.lines_as_csv("outages", OUTAGE_COLUMNS, rows)
    return render_template("admin/outages.html", page=outage_credit.listing(current.session(), **window()))

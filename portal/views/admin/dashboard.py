"""Admin dashboard, ledger verification and list of outages. Users get 403."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask import Response as FlaskResponse
from werkzeug.wrappers import Response

from models.services.admin import dashboard as admin_dashboard
from models.services.tokens import outage_credit
from portal.documents import list_export
from portal.i18n import gettext as _
from portal.request import auth, context
from portal.request.pagination import page_slice
from portal.status import components

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
blueprint.before_request(auth.require_admin)
OUTAGE_COLUMNS = ("opened_at", "closed_at", "credited_at", "credited_tokens", "credited_seconds")


@blueprint.get("/")
def index() -> str:
    """Show items that need attention, shop statistics with links to their lists, and component status."""
    found = admin_dashboard.load_dashboard(context.session(), context.settings())
    return render_template("admin/dashboard.html", dashboard=found, parts=components.collect_components())


@blueprint.post("/verify")
def verify() -> Response:
    """Verify the ledger now, by a job."""
    if context.enqueue_job("jobs.cleanup.verify_ledger"):
        flash(_("Ledger verification has started. The result will appear here shortly."), "info")
    else:
        flash(_("Redis is not responding. Please try again later."), "bad")
    return redirect(url_for("admin.index"), 303)


@blueprint.get("/outages")
def outage_list() -> str | FlaskResponse:
    """List the upstream's outages with their credits."""
    if list_export.is_wanted():
        found = list_export.all_rows(outage_credit.list_credits)
        rows = (tuple(getattr(outage, name) for name in OUTAGE_COLUMNS) for outage in found)
        return list_export.rows_as_csv("outages", OUTAGE_COLUMNS, rows)
    return render_template("admin/outages.html", page=outage_credit.list_credits(context.session(), **page_slice()))

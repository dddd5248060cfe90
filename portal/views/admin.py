"""The office: what admins see and do. Every route here is 403 for a user."""

from flask import Blueprint, render_template

from models.services import audit, crediting, overview
from portal import access, current
from portal.paging import Window, window

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
blueprint.before_request(access.require_admin)

FEW = Window(limit=10, offset=0)


@blueprint.get("/")
def index() -> str:
    """Show the figures of the shop, each with the way to its list, and what happened last."""
    return render_template(
        "admin/index.html", figures=overview.of_shop(current.session()), entries=audit.entries(current.session(), **FEW)
    )


@blueprint.get("/outages")
def outage_list() -> str:
    """List the upstream's outages, with what was credited for each."""
    return render_template("admin/outages.html", page=crediting.listing(current.session(), **window()))
